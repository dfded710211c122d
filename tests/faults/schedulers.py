"""Many schedulers at the same moment: `python -m tests.faults.schedulers THREADS ROUNDS`, with the site's settings."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.db import connection

django.setup()

from apps.jobs.tasks import place  # noqa: E402
from tests.faults.pace import hasten  # noqa: E402


def race(rounds: int) -> None:
    for _ in range(rounds):
        place()
    connection.close()


def main() -> None:
    threads, rounds = int(sys.argv[1]), int(sys.argv[2])
    hasten()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(race, [rounds] * threads))


if __name__ == "__main__":
    main()
