"""The component kit: numbers as words, pictures with a spoken label, a stranger's text made harmless."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django import forms
from django.template import engines
from django.utils import timezone

from stackweb import numbers, rendering, template_tags

GIB = 2**30


def render(source: str, **context: Any) -> str:
    return str(engines["django"].from_string(source).render(context))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (numbers.gib(31.94 * GIB), "31.9"),
        (numbers.size(980), "980 B"),
        (numbers.size(98_240_000_000), "98.2 GB"),
        (numbers.size(4.2e12), "4.2 TB"),
        (numbers.duration(4.25), "4.2 s"),
        (numbers.times(0.1871, 1.284), "190 ms to 1.3 s"),
        (numbers.times(118, 840), "2 to 14 m"),
        (numbers.times(3700, 3600 * 9.86), "1 to 9.9 h"),
        (numbers.times(41, 41.3), "41 s"),
        (numbers.rates(17.98, 36.2), "18 to 36"),
        (numbers.rates(2130, 8760), "2,100 to 8,800"),
        (numbers.rates(1.72, 1.74), "1.7"),
        (numbers.duration(43), "43 s"),
        (numbers.duration(247), "4 m 07 s"),
        (numbers.duration(98 * 60), "1 h 38 m"),
        (numbers.duration(12 * 86400 + 6 * 3600), "12 d 6 h"),
        (numbers.age(9), "just now"),
        (numbers.age(59), "59 s ago"),
        (numbers.age(299), "4 min ago"),
        (numbers.age(7200), "2 h ago"),
        (numbers.age(200_000), "2 d ago"),
        (numbers.ms(318), "318 ms"),
        (numbers.ms(1940), "1.94 s"),
        (numbers.count(2184), "2,184"),
        (numbers.count(6.14), "6.1"),
        (numbers.context_tokens(8192), "8 k"),
        (numbers.score(0.6124), "61.2"),
        (numbers.params(134_515_008), "135 M"),
        (numbers.params(8_030_000_000), "8.0 B"),
        (numbers.gib(None), "–"),
        (numbers.score(None), "–"),
    ],
)
def test_numbers_as_people_read_them(made: str, words: str) -> None:
    assert made == words


def test_state_has_tone_icon_and_word_and_knows_its_vocabulary() -> None:
    chip = template_tags.state("Held", "pill", ", 62%")
    assert 'class="state warn pill"' in chip
    assert "#circle-pause" in chip
    assert "Held, 62%" in chip
    with pytest.raises(KeyError):
        template_tags.state("Sleeping")


def test_memory_strip_says_what_it_draws_and_marks_the_limit() -> None:
    strip = template_tags.mem({"weights": 30 * GIB, "kv": 10 * GIB}, 80 * GIB)
    assert 'aria-label="weights 30.0 GiB, KV cache 10.0 GiB, of 80.0 GiB"' in strip
    assert '<i class="" style="--w:37.5%"></i><i class="kv" style="--w:12.5%"></i>' in strip
    assert "over" not in strip
    too_big = template_tags.mem({"weights": 60 * GIB, "kv": 40 * GIB}, 80 * GIB)
    assert 'class="mem  over"' in too_big
    assert "--cap:80.0%" in too_big


def test_markdown_of_a_stranger_is_harmless() -> None:
    html = rendering.markdown(
        "# Card\n\n[a](javascript:alert(1)) [b](https://b.example)\n\n"
        '<b hx-get="/api" onclick="x()" style="position:fixed" class="toast" id="main">hi</b>\n\n'
        "<script>alert(1)</script>\n\n![pixel](https://spy.example/p.png)"
    )
    assert "<h3>Card</h3>" in html, "the page owns h1 and h2"
    assert 'href="https://b.example"' in html
    assert "<b>hi</b>" in html
    for danger in ("javascript", "hx-", "onclick", "style", "class", "id=", "script", "alert", "img", "spy"):
        assert danger not in html.replace("[a](javascript:alert(1))", ""), danger


def test_code_is_numbered_escaped_and_marked() -> None:
    html = template_tags.code("a.yaml", "\nrank: 32 # no <b>\n")
    assert html.count('class="ln"') == 2, "a blank first line keeps its number"
    assert '<span class="tok-c"># no &lt;b&gt;</span>' in html
    assert template_tags.code("no-such-language", "a < b").count("a &lt; b") == 1


def test_chart_data_cannot_end_its_script() -> None:
    html = render(
        '{% series_chart "loss" data label="Loss" %}', data={"series": [{"name": "</script><b>"}]}, csp_nonce="n0"
    )
    assert html.count("</script>") == 1
    assert 'nonce="n0"' in html
    assert 'role="img" aria-label="Loss"' in html


@pytest.mark.parametrize(
    ("low", "high", "tone"), [(0.01, 0.09, "diff better"), (-0.09, -0.01, "diff worse"), (-0.02, 0.1, "diff ")]
)
def test_difference_is_coloured_only_when_its_interval_leaves_zero(low: float, high: float, tone: str) -> None:
    assert f'class="ci {tone}"' in template_tags.diff((low + high) / 2, low, high)


def test_difference_off_the_axis_is_a_triangle() -> None:
    assert "<circle" in template_tags.diff(0.29, 0.2, 0.38)
    assert "<circle" not in template_tags.diff(0.31, 0.2, 0.42)


def test_interval_stays_on_its_scale_and_says_its_numbers() -> None:
    svg = template_tags.interval(0.98, 0.9, 1.2)
    assert 'aria-label="98.0, 95% interval 90.0 to 120.0"' in svg
    assert 'x2="116.0"' in svg


def test_ago_keeps_the_exact_time() -> None:
    moment = timezone.now() - timedelta(minutes=4, seconds=10)
    html = template_tags.ago(moment)
    assert ">4 min ago</time>" in html
    assert f'datetime="{moment.isoformat()}"' in html
    assert template_tags.ago(None) == "–"


def test_a_name_cannot_leave_its_avatar() -> None:
    assert "<b>" not in template_tags.avatar("<b> x")


class SampleForm(forms.Form):
    rank = forms.IntegerField(help_text="4 to 256")
    method = forms.ChoiceField(choices=[("lora", "LoRA"), ("full", "Full")], widget=forms.RadioSelect)
    packing = forms.BooleanField(help_text="Joins short rows")
    name = forms.CharField(required=False)


def field(name: str, **data: str) -> str:
    form = SampleForm(data)
    return render('{% include "components/field.html" with field=field %}', field=form[name])


def test_field_names_its_hint_and_its_error() -> None:
    html = field("rank", rank="many")
    assert '<label for="id_rank">Rank</label>' in html
    assert 'aria-describedby="id_rank-hint id_rank-error"' in html
    assert 'aria-invalid="true"' in html
    assert '<span class="hint" id="id_rank-hint">4 to 256</span>' in html
    assert '<span class="hint err" id="id_rank-error">Enter a whole number.</span>' in html


def test_field_without_trouble_has_no_error() -> None:
    html = field("rank", rank="8")
    assert "aria-invalid" not in html
    assert "hint err" not in html
    assert "optional" in field("name")


def test_choice_field_is_a_named_group() -> None:
    html = field("method", method="full")
    assert 'role="radiogroup" aria-labelledby="id_method-label"' in html
    assert html.count('type="radio"') == 2
    assert '<input type="radio" name="method" value="full" id="id_method_1" required checked>' in html
    assert 'aria-describedby="id_method-error"' in field("method", method="dora")


def test_tick_box_stands_in_its_label() -> None:
    html = field("packing")
    assert '<label class="check" for="id_packing">' in html
    assert 'class="in"' not in html


def test_a_long_series_is_a_line_of_means() -> None:
    drawn = rendering.sparkline([float(step % 2) for step in range(480)])
    heights = re.findall(r",([\d.]+)", drawn.rpartition(' d="')[2])
    assert heights == ["24.0"] * 24, "the noise is gone"
