"""What a fake host says of itself. Standard library only: every shim imports it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def fake_boot_id() -> str:
    return (Path(os.environ["FAULTS_HOST_FOLDER"]) / "boot_id").read_text()


def replace(module: Any, name: str, value: Any) -> None:
    getattr(module, name)  # fails where the product has moved it
    setattr(module, name, value)
