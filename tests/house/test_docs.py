"""What the documents name exists: files, make targets, settings, addresses, commands. And no file names a place."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.engines.base import Engine, Placement, RunSpec
from apps.engines.locks import LOCKS, read_lock
from apps.engines.registry import ENGINES, get_engine
from stackweb import cli
from stackweb.permissions import MATRIX
from workers import cli as worker_cli
from workers.environments import CONFIGURABLE

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), LOCKS / "README.md", ROOT / "static/vendor/README.md"]
)
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in DOCS}
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    if name and (ROOT / name).is_file()
]
SOURCES = [path for path in TRACKED if path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts]
# Named as an example, in the walk-through of a new engine.
EXAMPLES = ("tiny_server", "tiny-server", "TINY_SERVER")


def named(pattern: str) -> Iterator[tuple[str, str]]:
    """(document, first group) of every match in every document, but for the examples."""
    for name, text in TEXTS.items():
        for match in re.finditer(pattern, text):
            if not any(example in match[1] for example in EXAMPLES):
                yield name, match[1]


def test_every_link_leads_to_a_file() -> None:
    links = [(name, target) for name, target in named(r"\]\((?!https?:)([^)#]+)\)")]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link[0]).parent.joinpath(link[1]).exists()] == []


def test_every_file_that_is_named_exists() -> None:
    folders = "apps|bench|docs|requirements|static|stackweb|templates|tests|workers"
    paths = set(named(rf"(?<![\w/.])((?:{folders})/[\w./-]+\w)"))
    paths |= set(named(r"`([\w-]+\.(?:py|toml|json|yaml))`"))
    made_later = re.compile(r"^bench/|^tests/faults$|^stackweb/run/|^worker\.json$|^services\.json$|^ports\.json$")
    inside = {path.name for path in TRACKED}
    missing = [
        (name, path)
        for name, path in paths
        if not (ROOT / path).exists()
        and not (ROOT / name).parent.joinpath(path).exists()
        and not ("/" not in path and path in inside)
        and not made_later.search(path)
    ]
    assert missing == []


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    targets |= {f"bench-{path.stem}" for path in (ROOT / "bench").glob("*.py")}  # one rule makes them all
    quoted = set(named(r"`make ([a-z-]+)")) | set(named(r"(?m)^make ([a-z-]+)"))
    assert {target for _, target in quoted} >= {"up", "test", "setup", "lint"}
    assert [each for each in quoted if each[1] not in targets] == []


def _settings_read() -> set[str]:
    """Names looked up in the environment, by the server or a worker."""
    code = "\n".join(path.read_text() for path in SOURCES)
    found = set(re.findall(r"""environ(?:\.get\(|\[)\s*["'](\w+)["']""", code))
    found |= {f"STACKWEB_ENV_{name.upper().replace('-', '_')}" for name in CONFIGURABLE}
    tests = "\n".join(path.read_text() for path in TRACKED if path.suffix == ".py" and path not in SOURCES)
    return found | set(re.findall(r"""environ\.get\(["'](STACKWEB_\w+)["']""", tests))


def test_every_setting_that_is_named_is_read() -> None:
    names = set(named(r"\b(STACKWEB_[A-Z_]*[A-Z])\b")) | set(named(r"`(HF_[A-Z_]+|DATABASE_URL|REDIS_URL|TZ)`"))
    assert len(names) > 20
    assert [each for each in names if each[1] not in _settings_read()] == []


def test_every_setting_that_is_read_is_in_the_operations_page() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", TEXTS["docs/operations.md"], re.M)
    code = "\n".join(path.read_text() for path in SOURCES)
    ours = set(re.findall(r"""environ(?:\.get\(|\[)\s*["']((?:STACKWEB|HF)_\w+)["']""", code))
    exported = {"STACKWEB_KEY"}  # in the code shown to callers of the gateway
    assert ours - exported - set(re.findall(r"`([A-Z_]+)`", " ".join(rows))) == set()


def test_every_address_that_is_named_is_in_the_matrix() -> None:
    rows = {re.sub(r"<[^>]*>", "{}", row) for row in MATRIX}
    gateway = {"GET /v1/models", "POST /v1/chat/completions", "POST /v1/completions"}
    for name, text in TEXTS.items():
        for method, path in re.findall(r"`(GET|POST|PATCH|DELETE) (/[\w./{}-]*)`", text):
            row = f"{method} {re.sub(r'{[^}]*}', '{}', path)}"
            assert row in rows | gateway, f"{name}: {method} {path}"


def test_every_page_and_call_of_the_readme_exists() -> None:
    text = TEXTS["README.md"]
    patterns = [re.compile(re.sub(r"<[^>]*>", "[^/]+", row.partition(" ")[2]) + "$") for row in MATRIX]
    calls = [f"/api/v1/{path}" for path in re.findall(r"^(?:export KEY=\$\()?api \"?([\w/.-]+)", text, re.M)]
    calls += re.findall(r"\$STACKWEB(/api/[\w/.-]*\w)(?!/\$)\b", text)
    pages = re.findall(r"# .*?(/(?:models|endpoints|evaluations|leaderboard|fine-tunes)\S*?)(?:,|\s|$)", text)
    assert len(calls) >= 8
    assert len(pages) >= 5
    assert [path for path in calls + pages if not any(pattern.match(path) for pattern in patterns)] == []


def _subcommands(parser: Any) -> set[str]:
    return {name for action in parser._actions for name in (action.choices or ()) if isinstance(action.choices, dict)}


@pytest.mark.parametrize(
    ("program", "parser"), [("stackweb", cli._parser()), ("stackweb-worker", worker_cli._parser())]
)
def test_every_command_that_is_named_exists(program: str, parser: Any) -> None:
    used = {each for each in named(rf"(?m)(?:^|`|/bin/){program} ([a-z][\w-]*)") if "decisions" not in each[0]}
    assert used
    assert [each for each in used if each[1] not in _subcommands(parser)] == []
    helps = [each.format_help() for each in _subparsers(parser)]
    flags = set(named(rf"(?m)(?:^|`|/bin/){program} [^\n`|#]*?(--[a-z-]+)"))
    assert [flag for flag in flags if not any(flag[1] in text for text in helps)] == []


def _subparsers(parser: Any) -> list[Any]:
    return [each for action in parser._actions if isinstance(action.choices, dict) for each in action.choices.values()]


def test_every_module_that_is_run_exists() -> None:
    modules = set(named(r"-m ((?:workers|apps|stackweb|requirements)\.[\w.]+)"))
    assert modules
    assert [each for each in modules if not (ROOT / each[1].replace(".", "/")).with_suffix(".py").exists()] == []


def test_the_engines_page_has_every_engine_and_its_version() -> None:
    page = TEXTS["docs/engines.md"]
    for name in ENGINES:
        version = get_engine(name).version
        row = next((line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line), "")
        assert row, name
        assert get_engine(name).environment is None or f"| {version} |" in row, (name, version)
    for path in LOCKS.glob("*-c*.txt"):
        lock = read_lock(*path.stem.rsplit("-", 1))
        row = rf"\| `{path.stem}` \| {lock.disk_bytes / 1e9:g}(\.0)? GB \| `{lock.script}` \|"
        assert re.search(row, page), path.stem


def test_an_engine_is_called_verified_on_gpu_only_where_it_was() -> None:
    page = TEXTS["docs/engines.md"]
    for name in ENGINES:
        if get_engine(name).environment and not get_engine(name).verified_on_gpu:
            row = next(line for line in page.splitlines() if f"`{name}`" in line)
            assert "not verified on GPU" in row, name


def test_the_example_engine_is_true_to_the_interface() -> None:
    example = re.search(r"```python\n(.*?)```", TEXTS["CONTRIBUTING.md"], re.S)
    assert example
    scope: dict[str, Any] = {}
    exec(example[1], scope)  # noqa: S102
    engine: Engine = scope["TinyServer"]()
    command = engine.command(RunSpec(kind=engine.kind, engine=engine.name, served_name="tiny"), Placement())
    assert command.argv[0] == "<env_prefix>/bin/tiny-server"
    assert all("title" in field for field in engine.Options.model_json_schema()["properties"].values())
    event = engine.read_line("listening on 127.0.0.1:18100")
    assert event is not None
    assert event.phase == "ready"
    assert engine.collect(RunSpec(kind="serve", engine=engine.name), ROOT).ok


def test_no_file_names_a_registry_or_a_place_of_this_machine() -> None:
    registries = ["pypi" + ".org", "python" + "hosted.org", "download.py" + "torch.org", "registry.npm" + "js.org"]
    registries += ["crates" + ".io", "un" + "pkg.com", "js" + "delivr.net", "conda." + "anaconda.org"]
    places = "|".join(re.escape(host) for host in registries) + r"|(?<![\w.])/(?:root|(?:home|Users|tmp)/\w+)/\w"
    if len(ROOT.parts) > 2:  # where this checkout lies; a folder such as /app may be named
        places += f"|{re.escape(str(ROOT))}\\b"
    pattern = re.compile(places.encode())
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in TRACKED
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if path.suffix not in (".woff2", ".png") and pattern.search(line)
    ]
    assert found == []


def test_licences_are_there_and_complete() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    notice = (ROOT / "NOTICE").read_text()
    names = [path.relative_to(ROOT).as_posix() for path in TRACKED if path.suffix != ".md"]
    vendored = [name for name in names if name.startswith("static/vendor/")]
    assert len(vendored) > 8
    assert [name for name in vendored if name not in notice] == []
    table = r"^\| (htmx|idiomorph|uplot|lucide)[\w.-]* \| ([\d.]+) \|"
    versions = re.findall(table, TEXTS["static/vendor/README.md"], re.M)
    assert len(versions) == 4
    assert [name for name, version in versions if f"{name} {version}" not in notice.lower()] == []


def test_the_changelog_begins_with_todays_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    first = re.search(r"^## (\S+)", TEXTS["CHANGELOG.md"], re.M)
    assert first
    assert first[1] == version
