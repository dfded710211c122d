"""Pure rooms and workers run where Django is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT_ALL = """
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"django", "ninja", "psycopg"}:
            raise ModuleNotFoundError(f"No module named {name!r} (as on a GPU host)")

sys.meta_path.insert(0, Missing())
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if not name.startswith(tuple(sys.argv[2:])):
        importlib.import_module(name)
print(len(names))
"""

# Started by an engine's own Python, beside torch and the engine; import-linter reads them.
RUN_INSIDE_AN_ENGINE = ["apps.engines.programs.", "workers.convert_gguf"]


@pytest.mark.parametrize("package", ["apps.engines", "apps.planning", "apps.statistics", "workers"])
def test_every_module_imports_without_django(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, package, *RUN_INSIDE_AN_ENGINE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, f"{package} has no modules: the walk looked in the wrong place"
