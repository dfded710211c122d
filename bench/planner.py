"""The planner against what engines printed, files measured and runs took: `make bench-planner`.

Every row names how many records it rests on and which were left out and why. The records stand, with their sources,
in bench/planner_data; they were also what the formulas were looked at with, so these errors are a lower bound.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.planner_parts import gguf, gguf_speeds, load_tests, serving, serving_later, speed, training, training_later
from bench.planner_parts.rows import Row


def main() -> int:
    rows: list[Row] = []
    for part in (serving, serving_later, gguf, gguf_speeds, training, training_later, load_tests, speed):
        print(f"\n{part.TITLE}")
        found = part.rows()
        rows += found
        for row in found:
            print(f"  {row.mark:7}{row.what}: {row.value:.4g} {row.unit} (must be {row.target})  {row.detail}")
    out = Path("build/bench/planner.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
