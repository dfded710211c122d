"""Which weights of a Hub repository are meant: its safetensors, or one of its GGUF quantisations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apps.accounts.problems import Problem, invalid
from apps.engines.repository_files import REFUSED, GgufChoice, formats_of, gguf_choices

SHOWN_CHOICES = 12
# Repositories of weights that are no model by themselves, by the file that tells.
_OTHER_KINDS = {
    "adapter_config.json": "an adapter only; merge it into its base model, or import that",
    "model_index.json": "a Diffusers pipeline of several parts, as for images, which none of the engines here serves",
}


@dataclass(frozen=True)
class Weights:
    """`variant` and `files` are those of a GGUF quantisation; empty for safetensors."""

    size_bytes: int
    variant: str = ""
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, choice: GgufChoice) -> Weights:
        return cls(choice.size_bytes, choice.label, choice.files)


def chosen_weights(repo: str, sizes: Mapping[str, int], variant: str) -> Weights:
    """Safetensors where there are any and nothing else is asked for; the only quantisation where there is one.

    Raises Problem 422: on `variant` where a person must choose, on `source_ref` where nothing can be served.
    """
    choices = gguf_choices(sizes)
    if variant:
        return Weights.of(_named(repo, choices, variant))
    formats = formats_of(sizes)
    if "safetensors" in formats:
        return Weights(formats["safetensors"])
    if len(choices) == 1:
        return Weights.of(choices[0])
    if choices:
        raise _must_choose(repo, choices)
    raise _cannot_serve(repo, sizes)


def _named(repo: str, choices: list[GgufChoice], variant: str) -> GgufChoice:
    found = next((each for each in choices if each.label.lower() == variant.lower()), None)
    if found is None:
        message = f"{repo} has no GGUF quantisation {variant}. It has {_listed(choices) or 'none'}."
        raise invalid("variant", message, value=variant)
    return found


def _must_choose(repo: str, choices: list[GgufChoice]) -> Problem:
    return invalid("variant", f"{repo} holds {len(choices)} GGUF quantisations: {_listed(choices)}. Choose one.")


def _listed(choices: list[GgufChoice]) -> str:
    shown = ", ".join(f"{each.label} ({_size(each.size_bytes)})" for each in choices[:SHOWN_CHOICES])
    more = len(choices) - SHOWN_CHOICES
    return f"{shown} and {more} more" if more > 0 else shown


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, count / 1e6):.0f} MB"


def _cannot_serve(repo: str, sizes: Mapping[str, int]) -> Problem:
    known = [said for name, said in _OTHER_KINDS.items() if name in sizes]
    known = known or [REFUSED[kind] for kind in formats_of(sizes) if kind in REFUSED]
    found = f"It holds {'; and '.join(known)}." if known else "It holds no model weights that are known."
    message = f"{repo} has no .safetensors beside a config.json and no whole .gguf file. {found}"
    return invalid("source_ref", message, value=repo)
