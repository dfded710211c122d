"""The product's shim on a fake host: the same program, told another boot id."""

from __future__ import annotations

from tests.faults.fake_machine import fake_boot_id, replace
from workers import processes

replace(processes, "boot_id", fake_boot_id)

if __name__ == "__main__":
    from workers.shim import main

    main()
