"""Every engine by name; its module is imported when somebody first asks for it."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module

from apps.engines.base import Engine, Kind

ENGINES: dict[str, str] = {
    "vllm": "apps.engines.adapters.vllm:Vllm",
    "llama-cpp": "apps.engines.adapters.llama_cpp:LlamaCpp",
    "lm-eval": "apps.engines.adapters.lm_eval:LmEval",
    "axolotl": "apps.engines.adapters.axolotl:Axolotl",
    "download": "apps.engines.adapters.download:Download",
    "install": "apps.engines.adapters.install:Install",
    "fake-serve": "apps.engines.adapters.fake:FakeServe",
    "fake-train": "apps.engines.adapters.fake:FakeTrain",
    "fake-eval": "apps.engines.adapters.fake:FakeEval",
}


class UnknownEngine(LookupError):
    """No engine of that name; the message names the nearest one."""


@cache
def get_engine(name: str) -> Engine:
    """The engine of that name. Raises UnknownEngine."""
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ENGINES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(ENGINES)}."
        raise UnknownEngine(f"There is no engine {name!r}. {hint}")
    module, _, class_name = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module), class_name)()
    return engine


def engines_of(kind: Kind) -> list[Engine]:
    """Every engine that does this kind of work."""
    return [engine for name in ENGINES if (engine := get_engine(name)).kind == kind]
