"""Which user the Postgres binaries run as. Postgres refuses to run as root.

As an ordinary user: as that user. As root there are two ways, tried in this order; both work below
folders of mode 0700 and change no permission outside the data folder:

1. A user namespace in which root is called by another number. Files stay root's, nothing is copied.
2. Another uid that may pass closed folders (CAP_DAC_OVERRIDE): for containers that forbid namespaces.
   The data folder is given to that uid.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OTHER_UID = 65534  # "nobody" on every Linux: initdb wants a uid that has a name


class EmbeddedError(Exception):
    """An embedded server cannot run; the message is for the person who started it."""


@dataclass(frozen=True)
class Identity:
    """How to start a Postgres binary, and which uid must own its data folder."""

    prefix: tuple[str, ...]
    owner_uid: int


ORDINARY = Identity((), os.geteuid())
NAMESPACE = Identity(("unshare", "--user", f"--map-user={OTHER_UID}", f"--map-group={OTHER_UID}", "--"), 0)
OTHER_USER = Identity(
    (
        "setpriv",
        f"--reuid={OTHER_UID}",
        f"--regid={OTHER_UID}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        "--securebits=+no_setuid_fixup",  # else access(2) forgets the capability
        "--",
    ),
    OTHER_UID,
)


def choose_identity(binary: Path, folder: Path) -> Identity:
    """The first identity under which `binary` runs and `folder` may be owned and read.

    Raises EmbeddedError when root has no way left.
    """
    if os.geteuid() != 0:
        return ORDINARY
    for identity in (NAMESPACE, OTHER_USER):
        if shutil.which(identity.prefix[0]) and _works(identity, binary, folder):
            return identity
    raise EmbeddedError(
        "Postgres does not run as root, and neither a user namespace (unshare) nor another uid (setpriv) "
        "works here. Run as an ordinary user, or set DATABASE_URL to a Postgres server."
    )


def _works(identity: Identity, binary: Path, folder: Path) -> bool:
    """Runs the binary and reads the folder under that identity."""
    for argv in ([str(binary), "--version"], ["ls", str(folder)]):
        done = subprocess.run([*identity.prefix, *argv], capture_output=True, check=False)
        if done.returncode != 0:
            return False
    return True


def hand_over(folder: Path, identity: Identity) -> None:
    """Gives the folder and all below it to the identity's uid, where root ran it differently before."""
    if os.geteuid() != 0 or folder.stat().st_uid == identity.owner_uid:
        return
    for root, _, files in os.walk(folder):
        for path in (root, *(os.path.join(root, name) for name in files)):
            os.chown(path, identity.owner_uid, identity.owner_uid, follow_symlinks=False)
