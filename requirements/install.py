"""`python -m requirements.install FILE`: installs a hash-locked file into this environment with uv.

Runs before anything but uv is installed. uv does not read pip's settings (mirror, certificate), so
they are carried over.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from workers.package_index import index_arguments, pip_settings, uv_environment

if __name__ == "__main__":
    pip = pip_settings()
    uv = Path(sys.executable).with_name("uv")
    arguments = ["pip", "install", "--quiet", "--python", sys.executable, "--require-hashes", "-r", *sys.argv[1:]]
    indexes = index_arguments(os.environ, pip, "")
    os.execve(uv, [str(uv), *arguments, *indexes], uv_environment(os.environ, pip))  # noqa: S606
