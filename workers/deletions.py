"""Deletes one finished download of this host.

    python -m workers.deletions FOLDER

Only a folder right under the models folder that a download of ours has finished is ever touched: no link, nothing
above, nothing that was there before. It loses its name first, so that a half-deleted model is never found.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from apps.engines.folder import RECORD
from apps.engines.lines import failed_line, progress_line, say
from workers.config import models_dir


class NotOurs(Exception):
    """The folder is none that may be deleted; the message says why."""


def delete(folder: Path) -> None:
    """Raises NotOurs. One that is gone already is no error."""
    if folder.is_symlink() or folder.parent.resolve() != models_dir().resolve() or folder.name in ("", ".", ".."):
        raise NotOurs(f"{folder} is not a folder right under {models_dir()}, and is left alone")
    doomed = folder.with_name(f".{folder.name}.deleting")
    if doomed.is_symlink():
        raise NotOurs(f"{doomed} is a link, and is left alone")
    if doomed.exists():  # left by a deletion that was cut off
        shutil.rmtree(doomed)
    if folder.exists():
        if not (folder / RECORD).is_file():
            raise NotOurs(f"{folder} was not made by a finished download, and is left alone")
        folder.rename(doomed)
        shutil.rmtree(doomed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.deletions")
    parser.add_argument("folder", help="empty: what was to be deleted is in use again")
    given = parser.parse_args(arguments).folder
    if not given:
        say(progress_line(1, 1, "model", "Nothing is deleted: the model has come back meanwhile"))
        return 0
    folder = Path(given)
    try:
        delete(folder)
    except NotOurs as refusal:
        say(failed_line("bad_config", str(refusal)))
        return 1
    except OSError as error:
        say(failed_line("engine_exited", f"{folder}: {error}"))
        return 1
    say(progress_line(1, 1, "model", f"Deleted {folder}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
