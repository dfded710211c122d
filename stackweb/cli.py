"""The `stackweb` command."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path

from stackweb.backup.archive import BackupError
from stackweb.backup.making import make_backup
from stackweb.backup.restoring import restore_backup
from stackweb.embedded.identity import EmbeddedError
from stackweb.fit_command.arguments import add_fit_commands
from stackweb.supervisor.address import LOOPBACK, read_address
from stackweb.supervisor.home import Home, UpError
from stackweb.supervisor.journal import Journal
from stackweb.supervisor.terminal import Terminal
from stackweb.supervisor.up import Supervisor
from stackweb.tour import CannotTour, run_tour

NOT_RUNNING = 3  # exit code of `status`, as init scripts use it


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except (UpError, EmbeddedError, CannotTour, BackupError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stackweb", description="A team's own LLM stack, on its own hosts.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start everything on this machine and stay in the foreground")
    up.add_argument(
        "--bind",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="IPv4 address on which the web side and the broker listen (default %(default)s); "
        "0.0.0.0 lets other hosts join",
    )
    up.set_defaults(run=_up)

    status = commands.add_parser("status", help="say what runs on STACKWEB_HOME")
    status.set_defaults(run=_status)

    tour = commands.add_parser("tour", help="run the whole loop on a small real model; exits 0 when all of it passed")
    tour.set_defaults(run=_tour)

    backup = commands.add_parser("backup", help="write the database and its key to one file, also while it runs")
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.set_defaults(run=lambda arguments: _say(make_backup(Home.from_environment(), arguments.file.absolute())))

    restore = commands.add_parser("restore", help="put a backup in the database's place; Stackweb must not run")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(run=lambda arguments: _say(restore_backup(Home.from_environment(), arguments.file.absolute())))

    add_fit_commands(commands)

    shown_version = commands.add_parser("version", help="print the version")
    shown_version.set_defaults(run=_version)
    return parser


def _up(arguments: argparse.Namespace) -> int:
    address = read_address(arguments.bind, os.environ.get("STACKWEB_PORT") or "8400")
    Supervisor(Home.from_environment(), address, Terminal()).run()
    return 0


def _status(_: argparse.Namespace) -> int:
    home = Home.from_environment()
    if not home.is_locked():
        print(f"Stackweb does not run on {home.path}. Start it with: make up")
        return NOT_RUNNING
    print(f"Stackweb runs on {home.path} at {home.read_services().get('web_url', '(still starting)')}")
    for entry in Journal(home.run).left_over():
        print(f"  {entry.name:<10} process {entry.pid}")
    return 0


def _tour(_: argparse.Namespace) -> int:
    home = Home.from_environment()
    url = home.read_services().get("web_url") or f"http://127.0.0.1:{os.environ.get('STACKWEB_PORT') or '8400'}"
    return run_tour(home=home.path, url=url)


def _say(lines: list[str]) -> int:
    print("\n".join(lines))
    return 0


def _version(_: argparse.Namespace) -> int:
    print(version("stackweb"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
