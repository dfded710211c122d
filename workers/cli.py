"""`stackweb-worker`: join a server, run the agent, look at this host."""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

from workers.adoption import describe
from workers.agent import Agent, AlreadyRuns, hold_state
from workers.client import Refused, Server, Unreachable, is_loopback
from workers.config import ConfigError, WorkerConfig, default_path, models_dir
from workers.environments import environments_root
from workers.inventory import take_inventory
from workers.records import Record

GIB = 1024**3


class Trouble(Exception):
    """Ends the command with this sentence on stderr."""


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Trouble, ConfigError, AlreadyRuns) as trouble:
        print(f"stackweb-worker: {trouble}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stackweb-worker", description="Connects this host to Stackweb.")
    parser.add_argument("--config", type=Path, default=default_path(), help="default: %(default)s")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    joining = commands.add_parser("join", help="connect this host, once")
    joining.add_argument("--url", required=True, help="the server's address")
    joining.add_argument("--token", help="the join token; better in STACKWEB_JOIN_TOKEN")
    joining.add_argument("--name", default=socket.gethostname(), help="default: %(default)s")
    joining.add_argument("--insecure-http", action="store_true", help="allow plain http to another machine")
    joining.add_argument("--state-dir", type=Path, help="default: beside the configuration")
    for name, command, about in (
        ("run", run, "work until told to stop"),
        ("inventory", inventory, "print what this host has, as JSON"),
        ("status", status, "print what runs here"),
    ):
        commands.add_parser(name, help=about).set_defaults(command=command)
    joining.set_defaults(command=join)
    ending = commands.choices["run"].add_mutually_exclusive_group()
    for option, at_exit, about in (
        ("--end-on-exit", "end", "when told to stop, end what runs here; without it engines go on for the next start"),
        ("--leave-on-exit", "leave", "the same, and say goodbye: the jobs run elsewhere at once"),
    ):
        ending.add_argument(option, dest="at_exit", action="store_const", const=at_exit, default="go on", help=about)
    for sub in commands.choices.values():
        # Also after the command's name; SUPPRESS keeps the value given before it.
        sub.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=f"default: {default_path()}")
    return parser


def join(given: argparse.Namespace) -> None:
    token = given.token or os.environ.get("STACKWEB_JOIN_TOKEN")
    if not token:
        raise Trouble("--token is missing. Make a join token on the Hardware page.")
    _check_url(given.url, given.insecure_http)
    found = take_inventory(models_dir(), environments_root())
    _print_inventory(given.name, found)
    server = Server(given.url, token)
    try:
        joined = server.join(given.name, found)
    except Unreachable as trouble:
        raise Trouble(f"--url {given.url}: {trouble}.") from None
    except Refused as refusal:
        raise Trouble(f"The server refuses: {refusal.detail}") from None
    finally:
        server.close()
    state_dir = given.state_dir or given.config.parent / "state"
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = WorkerConfig(
        url=given.url,
        host_token=joined.host_token,
        host_name=joined.host.name,
        queue=joined.queue,
        broker_url=joined.broker_url,
        broker_prefix=joined.broker_prefix,
        state_dir=state_dir.absolute(),
        models_dir=models_dir(),
        env_root=environments_root(),
        heartbeat_seconds=joined.heartbeat_seconds,
    )
    config.save(given.config)
    print(f"Joined as {joined.host.name}. Start it with: stackweb-worker run --config {given.config}")


def _check_url(url: str, is_plain_allowed: bool) -> None:
    if not url.startswith(("http://", "https://")):
        raise Trouble(f"--url {url}: begins with neither https:// nor http://.")
    if url.startswith("http://") and not is_loopback(url) and not is_plain_allowed:
        raise Trouble(
            f"--url {url}: over plain http, tokens can be read on the way. "
            "Use https, or add --insecure-http on a network you trust."
        )


def _print_inventory(name: str, found: dict[str, Any]) -> None:
    print(f"{name}: {found['cpu']['model']}, {found['cpu']['cores']} cores, {found['ram_bytes'] / GIB:.0f} GiB RAM")
    for gpu in found["gpus"]:
        print(f"  GPU {gpu['index']}: {gpu['name']}, {gpu['memory_bytes'] / GIB:.0f} GiB")
    if not found["gpus"]:
        print("  No GPU found: this host offers its CPU.")
    print(f"  Free disk for models: {found['disk']['free_bytes'] / GIB:.0f} GiB in {found['models_dir']}")
    for warning in found["warnings"]:
        print(f"  Note: {warning}")


def run(given: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    for chatty in ("httpx", "httpcore", "celery", "kombu"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    Agent(WorkerConfig.load(given.config), given.at_exit).run()


def inventory(given: argparse.Namespace) -> None:
    print(json.dumps(take_inventory(models_dir(), environments_root()), indent=2))


def status(given: argparse.Namespace) -> None:
    config = WorkerConfig.load(given.config)
    try:
        os.close(hold_state(config.state_dir))
        is_running = False
    except AlreadyRuns:
        is_running = True
    print(f"{config.host_name}: the worker {'runs' if is_running else 'does not run'}")
    server = Server(config.url, config.host_token)
    try:
        assignments = server.assignments().attempts
        print(f"{config.url}: answers, {len(assignments)} attempts for this host")
    except (Unreachable, Refused) as trouble:
        print(f"{config.url}: {trouble}")
    finally:
        server.close()
    for path in sorted((config.state_dir / "attempts").glob("*")):
        if (record := Record.load(path)) is not None:
            print(f"  {record.uuid} {record.claim.spec.get('engine')}: {describe(path)}")


if __name__ == "__main__":
    sys.exit(main())
