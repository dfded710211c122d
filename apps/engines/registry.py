"""Every engine by name. Modules are imported when first asked for, so that a listing stays cheap."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import import_module

from apps.engines.base import Engine

ENGINES: dict[str, str] = {
    "vllm": "apps.engines.adapters.vllm:Vllm",
    "llama-cpp": "apps.engines.adapters.llama_cpp:LlamaCpp",
    "lm-eval": "apps.engines.adapters.lm_eval:LmEval",
    "axolotl": "apps.engines.adapters.axolotl:Axolotl",
    "download": "apps.engines.adapters.download:Download",
    "delete": "apps.engines.adapters.delete:Delete",
    "install": "apps.engines.adapters.install:Install",
    "fake-serve": "apps.engines.adapters.fake:FakeServe",
    "fake-train": "apps.engines.adapters.fake:FakeTrain",
    "fake-eval": "apps.engines.adapters.fake:FakeEval",
}
# They compute nothing. Tests ask for them by name; nobody else is offered one.
FAKES = frozenset({"fake-serve", "fake-train", "fake-eval"})


class UnknownEngine(LookupError):
    """No engine of that name; the text offers the nearest one, `suggestion` holds it or ""."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.suggestion = next(iter(get_close_matches(name.lower().replace("_", "-"), ENGINES, n=1)), "")
        hint = f"did you mean {self.suggestion!r}?" if self.suggestion else f"there are: {', '.join(ENGINES)}"
        super().__init__(f"No engine is named {name!r}; {hint}")


@cache
def get_engine(name: str) -> Engine:
    """The one instance of an engine; raises UnknownEngine."""
    if name not in ENGINES:
        raise UnknownEngine(name)
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module), attribute)()
    return engine
