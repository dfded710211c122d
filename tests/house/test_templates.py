"""Templates keep the rules that no compiler checks: names that exist, and nothing the CSP would block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import get_template
from django.urls import get_resolver

from stackweb.template_tags import STATES

TEMPLATES = settings.BASE_DIR / "templates"
STATIC = settings.BASE_DIR / "static"
PAGES = sorted(TEMPLATES.rglob("*.html"))
TAG = re.compile(r"{%.*?%}|{{.*?}}|{#.*?#}", re.S)
# One custom property, one value, and that value printed by the template: never prose, never a colour.
NUMBER_STYLE = re.compile(r"--[a-z]+:\{\{ [^{}]+ \}\}%?")


def found(pattern: str) -> Iterator[tuple[str, str]]:
    """(template, first group) of every match in every template."""
    for page in PAGES:
        for match in re.finditer(pattern, page.read_text()):
            yield str(page.relative_to(TEMPLATES)), match[1]


def missing(pattern: str, known: set[str]) -> list[tuple[str, str]]:
    uses = list(found(pattern))
    assert uses, f"nothing matches {pattern}: the check looks at nothing"
    return [use for use in uses if use[1] not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TEMPLATES)))
def test_compiles(page: Path) -> None:
    get_template(str(page.relative_to(TEMPLATES)))


def test_every_linked_address_exists() -> None:
    names = {name for name in get_resolver().reverse_dict if isinstance(name, str)}
    assert missing(r"""{%\s*url\s+['"]([\w-]+)['"]""", names) == []
    assert missing(r'nav_link\.html" with name="(\w+)"', names) == []


def test_every_static_file_exists() -> None:
    files = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file()}
    assert missing(r"""{%\s*static\s+['"]([^'"]+)['"]""", files) == []


def test_every_icon_is_in_the_sprite() -> None:
    icons = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons/icons.svg").read_text()))
    assert missing(r'(?:{%\s*icon\s+|symbol=)"([^"]+)"', icons) == []
    assert {icon for _, icon in STATES.values()} <= icons


def test_every_class_has_a_style_or_a_script() -> None:
    sources = [STATIC / "css/stackweb.css", *STATIC.glob("js/*.js")]
    known = set(re.findall(r"\.([a-zA-Z][\w-]*)", "".join(source.read_text() for source in sources)))
    unknown = []
    for page in PAGES:
        plain = TAG.sub(" ", page.read_text())
        for value in re.findall(r'\sclass="([^"]*)"', plain):
            unknown += [(page.name, name) for name in value.split() if name not in known]
    assert unknown == []


def test_style_attributes_hold_one_printed_number() -> None:
    assert [use for use in found(r'\sstyle="([^"]*)"') if not NUMBER_STYLE.fullmatch(use[1])] == []


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ("scripts come from files or carry the nonce", r"<script(?![^>]*(?:\ssrc=|\snonce=))([^>]*)>"),
        ("styles come from files", r"<(style)\b"),
        ("no handlers in attributes", r"<[^>]*\s(on[a-z]+)="),
        ("no script addresses", r"(javascript:)"),
        ("no dead links", r'(href="#?")'),
        ("htmx works without eval", r"""(hx-on|hx-vals=['"]js|hx-trigger="[^"]*\[)"""),
    ],
)
def test_nothing_the_policy_would_block(rule: str, pattern: str) -> None:
    assert list(found(pattern)) == [], rule
