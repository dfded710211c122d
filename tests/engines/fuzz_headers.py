"""Random damage to weight files for as long as asked: `python -m tests.engines.fuzz_headers --seconds 60 --seed 1`.

Ends with status 1 and the file it saved where a reader raised anything but a refusal, took more than a second,
or grew by more than 200 MB.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

from tests.engines.header_files import READERS, damaged, survives

MOST_SECONDS, MOST_BYTES = 1.0, 200_000_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz_headers")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance, counts = random.Random(given.seed), Counter[str]()
    tracemalloc.start()
    ends = time.monotonic() + given.seconds
    while time.monotonic() < ends:
        name = chance.choice(list(READERS))
        data = damaged(READERS[name][0], chance)
        if wrong := judged(name, data, counts):
            saved = Path(f"damaged.{name}")
            saved.write_bytes(data)
            sys.stdout.write(f"{wrong}: {saved}\n")
            return 1
    sys.stdout.write(", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())) + "\n")
    return 0


def judged(name: str, data: bytes, counts: Counter[str]) -> str:
    """What was wrong; empty where all was well."""
    tracemalloc.reset_peak()
    began = time.monotonic()
    try:
        was_read = survives(READERS[name][1], data)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    counts[f"{name} {'read' if was_read else 'refused'}"] += 1
    if time.monotonic() - began > MOST_SECONDS:
        return "It took too long"
    return "It grew too large" if tracemalloc.get_traced_memory()[1] > MOST_BYTES else ""


if __name__ == "__main__":
    sys.exit(main())
