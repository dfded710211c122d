"""Small pictures and formatted text, made on the server: SVG, highlighted code, sanitised Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import nh3
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.token import (
    Comment,
    Keyword,
    Literal,
    Name,
    Number,
    Punctuation,
    String,
    _TokenType,
    is_token_subtype,
)
from pygments.util import ClassNotFound

_SPARK_WIDTH, _SPARK_HEIGHT = 72, 26
_SPARK_POINTS = 24
_TOKEN_CLASSES: tuple[tuple[_TokenType, str], ...] = (
    (Comment, "tok-c"), (Keyword, "tok-k"), (Name.Tag, "tok-k"), (Name.Attribute, "tok-k"),
    (Number, "tok-n"), (String.Escape, "tok-p"), (Literal, "tok-s"), (Punctuation, "tok-p"),
)  # fmt: skip
# No images: a card must not make the reader's browser call another server.
_TAGS = {
    "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li",
    "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


def _lower_headings(state: StateCore) -> None:
    """The page owns h1 and h2, so a card's title becomes an h3."""
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"


_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_MARKDOWN.core.ruler.push("lower_headings", _lower_headings)


def markdown(text: str) -> SafeString:
    """Markdown of a stranger as safe HTML: a fixed list of tags, no attributes but link targets."""
    html = nh3.clean(
        _MARKDOWN.render(text), tags=_TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"}
    )
    return mark_safe(html)  # noqa: S308  sanitised on the line above


def highlighted(lang: str, text: str) -> SafeString:
    """Text in numbered lines with the tok-* classes; unknown languages stay plain."""
    lexer = _lexer(lang)
    lines: list[list[SafeString]] = [[]]
    tokens = lexer.get_tokens(text) if lexer else [(Name, text)]
    for kind, value in tokens:
        css = next((css for token, css in _TOKEN_CLASSES if is_token_subtype(kind, token)), "")
        for place, piece in enumerate(value.split("\n")):
            if place:
                lines.append([])
            if piece:
                lines[-1].append(format_html('<span class="{}">{}</span>' if css else "{1}", css, piece))
    while lines and not lines[-1]:
        lines.pop()
    body = format_html_join("", '<span class="ln">{}</span>', ((mark_safe("".join(line)),) for line in lines))  # noqa: S308
    return format_html('<pre class="code" tabindex="0" role="group" aria-label="{}">{}</pre>', lang, body)


def _lexer(lang: str) -> Lexer | None:
    try:
        find = get_lexer_for_filename if "." in lang else get_lexer_by_name
        return find(lang, stripnl=False)  # so that line numbers stay those of the file
    except ClassNotFound:
        return None


def _thinned(values: Sequence[float]) -> Sequence[float]:
    """At most _SPARK_POINTS means of neighbours: more would draw a band, not a line."""
    if len(values) <= _SPARK_POINTS:
        return values
    edges = [place * len(values) // _SPARK_POINTS for place in range(_SPARK_POINTS + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]


def sparkline(values: Sequence[float], label: str = "") -> SafeString:
    """A line of the values, scaled to their own range; a long series is averaged, nothing below two values."""
    if len(values) < 2:
        return SafeString("")
    values = _thinned(values)
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = _SPARK_WIDTH / (len(values) - 1)
    heights = [_SPARK_HEIGHT - 2 - (value - low) / span * (_SPARK_HEIGHT - 4) for value in values]
    path = "M" + " L".join(f"{place * step:.1f},{height:.1f}" for place, height in enumerate(heights))
    area = f"{path} L{_SPARK_WIDTH},{_SPARK_HEIGHT} L0,{_SPARK_HEIGHT}Z"
    spoken = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="spark" viewBox="0 0 {w} {h}" preserveAspectRatio="none" width="{w}" height="{h}" {s}>'
        '<path class="a" d="{a}"/><path d="{p}"/></svg>',
        w=_SPARK_WIDTH, h=_SPARK_HEIGHT, a=area, p=path, s=spoken,
    )  # fmt: skip


def interval_svg(value: float, low: float, high: float, tone: str = "") -> SafeString:
    """A dot with its 95 % interval on a scale from 0 to 1, 120 units wide."""
    x, left, right = (4 + 112 * min(1.0, max(0.0, each)) for each in (value, low, high))
    label = f"{100 * value:.1f}, 95% interval {100 * low:.1f} to {100 * high:.1f}"
    return format_html(
        '<svg class="ci {}" viewBox="0 0 120 16" width="120" height="16" role="img" aria-label="{}">'
        '<line class="axis" x1="4" y1="8" x2="116" y2="8"/><line class="band" x1="{}" y1="8" x2="{}" y2="8"/>'
        '<circle cx="{}" cy="8" r="3.5"/></svg>',
        tone, label, f"{left:.1f}", f"{right:.1f}", f"{x:.1f}",
    )  # fmt: skip


def difference_svg(difference: float, low: float, high: float, reach: float) -> SafeString:
    """A paired difference with its band around a zero line; a triangle points at one off the axis."""

    def place(value: float) -> float:
        return 60 + 56 * min(1.0, max(-1.0, value / reach))

    tone = "better" if low > 0 else "worse" if high < 0 else ""
    dot = format_html('<circle cx="{}" cy="8" r="3.5"/>', f"{place(difference):.1f}")
    if abs(difference) > reach:
        turn = "" if difference > 0 else ' transform="matrix(-1 0 0 1 120 0)"'
        dot = mark_safe(f'<path d="M112 3.5 119 8l-7 4.5z"{turn}/>')  # noqa: S308  our own constant
    label = f"{100 * difference:+.1f} points, 95% interval {100 * low:+.1f} to {100 * high:+.1f}"
    return format_html(
        '<svg class="ci diff {}" viewBox="0 0 120 16" width="120" height="16" role="img" aria-label="{}">'
        '<line class="axis" x1="4" y1="8" x2="116" y2="8"/><line class="zero" x1="60" y1="1" x2="60" y2="15"/>'
        '<line class="band" x1="{}" y1="8" x2="{}" y2="8"/>{}</svg>',
        tone, label, f"{place(low):.1f}", f"{place(high):.1f}", dot,
    )  # fmt: skip
