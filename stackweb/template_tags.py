"""Template tags and filters of every page: icons, states, memory strips, small charts, numbers as words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from apps.costs.money import money
from stackweb import numbers, rendering
from stackweb.day_bars import Day, stacked_days

register = template.Library()
register.simple_tag(static, name="static")

for each in (
    numbers.gib,
    numbers.duration,
    numbers.count,
    numbers.percent,
    numbers.score,
    numbers.params,
    numbers.ms,
    money,
    numbers.kwh,
    numbers.hours,
    numbers.signed_percent,
    numbers.quantity,
):
    register.filter(each.__name__, each)
register.simple_tag(numbers.rates)
register.simple_tag(numbers.times)
register.filter("bytes", numbers.size)
register.filter("ctx", numbers.context_tokens)
register.filter("markdown", rendering.markdown)

# word -> (tone, icon), docs/design.md
STATES = {
    "Running": ("run", "loader-circle"), "Queued": ("idle", "circle-dashed"),
    "Waiting": ("idle", "hourglass"), "Starting": ("run", "loader-circle"),
    "Loading": ("run", "loader-circle"), "Training": ("run", "activity"),
    "Evaluating": ("run", "list-checks"), "Cancelling": ("run", "loader-circle"),
    "Done": ("ok", "circle-check"), "Live": ("ok", "circle-check"), "Ready": ("ok", "circle-check"),
    "Serving": ("ok", "radio"), "Schedulable": ("ok", "circle-check"), "Failed": ("bad", "circle-x"),
    "Down": ("bad", "circle-x"), "Unreachable": ("bad", "unplug"), "Unknown": ("warn", "unplug"),
    "Held": ("warn", "circle-pause"), "Paused": ("warn", "circle-pause"), "Stalled": ("warn", "timer-off"),
    "Degraded": ("warn", "triangle-alert"), "Draining": ("warn", "log-out"), "Cordoned": ("warn", "ban"),
    "Fenced": ("bad", "ban"), "Left": ("idle", "log-out"),
    "Cancelled": ("idle", "circle-slash-2"), "Stopped": ("idle", "circle-stop"), "Free": ("idle", "circle"),
    "Fits": ("ok", "circle-check"), "Tight": ("warn", "triangle-alert"), "Too big": ("idle", "circle-x"),
    "Better": ("ok", "trending-up"), "No difference shown": ("idle", "equal"),
    "Worse": ("bad", "trending-down"), "Passed": ("ok", "circle-check"), "Not passed": ("bad", "circle-x"),
}  # fmt: skip
MEMORY_PARTS = {
    "weights": "", "kv": "kv", "activations": "act", "gradients": "grad", "optimizer": "opt", "overhead": "ovh",
}  # fmt: skip
MEMORY_NAMES = {"kv": "KV cache"}


@register.simple_tag
@lru_cache(1024)  # a page of rows draws the same few some hundred times
def icon(name: str, css: str = "") -> SafeString:
    href = f"{static('icons/icons.svg')}#{name}"
    return format_html('<svg class="i {}" aria-hidden="true"><use href="{}"/></svg>', css, href)


@register.simple_tag
def state(word: str, css: str = "", note: str = "") -> SafeString:
    """A state chip. Raises KeyError for a word outside the vocabulary."""
    tone, name = STATES[word]
    spin = "spin" if name == "loader-circle" else ""
    return format_html('<span class="state {} {}">{}{}{}</span>', tone, css, icon(name, spin), word, note)


@register.simple_tag
def fit_word(verdict: str) -> str:
    return {"fits": "Fits", "tight": "Tight", "too_big": "Too big"}[verdict]


@register.simple_tag
def mem(parts: dict[str, float], total: float, css: str = "") -> SafeString:
    """A memory strip: `parts` maps weights, kv, activations, gradients, optimizer, overhead to bytes."""
    used = sum(parts.values())
    whole = max(total, used) or 1
    words = [f"{MEMORY_NAMES.get(name, name)} {numbers.gib(value)} GiB" for name, value in parts.items()]
    label = f"{', '.join(words)}, of {numbers.gib(total)} GiB"
    over = "over" if used > total else ""
    cells = format_html_join(
        "",
        '<i class="{}" style="--w:{}%"></i>',
        ((MEMORY_PARTS[name], f"{100 * value / whole:.1f}") for name, value in parts.items()),
    )
    return format_html(
        '<div class="mem {} {}" role="img" aria-label="{}" title="{}" style="--cap:{}%">{}</div>',
        css, over, label, label, f"{100 * total / whole:.1f}", cells,
    )  # fmt: skip


@register.simple_tag
def mem_legend(parts: dict[str, float]) -> SafeString:
    rows = (
        (MEMORY_PARTS[name] or "weights", MEMORY_NAMES.get(name, name), numbers.gib(value))
        for name, value in parts.items()
    )
    cells = format_html_join("", '<span><i class="key-{}"></i>{} {}</span>', rows)
    return format_html('<div class="legend">{}</div>', cells)


@register.simple_tag
def progress(fraction: float, label: str, wide: bool = False, note: bool = True) -> SafeString:
    """A progress bar from 0 to 1; `wide` is the thin rule under a page's head."""
    percent = round(100 * min(1.0, max(0.0, fraction)))
    bar = format_html(
        '<div class="bar{}" role="progressbar" aria-valuenow="{}" aria-valuemin="0" aria-valuemax="100" '
        'aria-label="{}"><i style="--w:{}%"></i></div>',
        " wide" if wide else "", percent, label, percent,
    )  # fmt: skip
    if wide or not note:
        return bar
    return format_html('<div class="meter">{}<span>{}<span class="u">%</span></span></div>', bar, percent)


@register.simple_tag
def spark(values: Sequence[float], label: str = "") -> SafeString:
    return rendering.sparkline(values, label)


@register.simple_tag
def day_bars(days: Sequence[Day], names: Sequence[str], label: str, unit: str = "") -> SafeString:
    """Stacked bars by day; `unit` stands before the numbers of the axis."""
    return stacked_days(days, names, label, unit)


@register.simple_tag
def interval(value: float, low: float, high: float, tone: str = "") -> SafeString:
    """A score from 0 to 1 with its 95 % interval, drawn on a scale from 0 to 100."""
    return rendering.interval_svg(value, low, high, tone)


@register.simple_tag
def diff(difference: float, low: float, high: float, reach: float = 0.3) -> SafeString:
    """A paired difference with its 95 % band around zero; `reach` is the axis' end."""
    return rendering.difference_svg(difference, low, high, reach)


@register.simple_tag(takes_context=True)
def series_chart(
    context: template.Context, chart_id: str, data: dict[str, Any], label: str, height: int = 220
) -> SafeString:
    """A uPlot chart; static/js/charts.js lists what `data` may say. Needs vendor/uplot on the page."""
    script = json.dumps(data).replace("<", "\\u003c")
    return format_html(
        '<div class="chart"><div class="plot" data-chart="{}" data-height="{}" role="img" aria-label="{}"></div></div>'
        '<div class="readout" data-readout="{}"></div>'
        '<script type="application/json" id="data-{}" nonce="{}">{}</script>',
        chart_id, height, label, chart_id, chart_id, context.get("csp_nonce", ""),
        mark_safe(script),  # noqa: S308  "<" is escaped above
    )  # fmt: skip


@register.simple_tag
def avatar(user: Any, css: str = "") -> SafeString:
    return _avatar(str(user or "Stackweb"), css)


@lru_cache(1024)  # a team's few names stand in every row
def _avatar(name: str, css: str) -> SafeString:
    words = re.findall(r"\w+", name) or ["S"]
    initials = (words[0][0] + (words[1][0] if len(words) > 1 else words[0][1:2])).upper()
    hue = sum(map(ord, name)) * 47 % 360
    return format_html('<span class="av {}" style="--h:{}" aria-hidden="true">{}</span>', css, hue, initials)


@register.simple_tag
def code(lang: str, text: str) -> SafeString:
    """Highlighted text with line numbers; `lang` is a language or a file name."""
    return rendering.highlighted(lang, text)


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """ "4 min ago" with the exact time on hover."""
    if moment is None:
        return "–"
    words = numbers.age((timezone.now() - moment).total_seconds())
    exact = f"{moment:%d %b %Y %H:%M:%S %Z}"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, words)


@register.filter
def get(mapping: dict[Any, Any], key: Any) -> Any:
    """A value by a key that is itself a variable."""
    return mapping.get(key)


@register.simple_tag
def field_attrs(bound: Any) -> SafeString:
    """The input of a form field with class, description and error state wired up."""
    describes: list[str] = []
    if bound.help_text:
        describes.append(f"{bound.auto_id}-hint")
    if bound.errors:
        describes.append(f"{bound.auto_id}-error")
    kind = getattr(bound.field.widget, "input_type", "")
    attrs: dict[str, Any] = {} if kind == "checkbox" else {"class": "in file" if kind == "file" else "in"}
    if describes:
        attrs["aria-describedby"] = " ".join(describes)
    if bound.errors:
        attrs["aria-invalid"] = "true"
    return mark_safe(str(bound.as_widget(attrs=attrs)))  # noqa: S308  Django renders the widget escaped
