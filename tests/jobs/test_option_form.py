"""Forms made from an engine's options: what they show, what they accept, what they can never carry."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from apps.jobs.option_form import option_form


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    max_model_len: int | None = Field(None, ge=128, le=4096, title="Context", description="Tokens per request.")
    dtype: Literal["auto", "float32"] = Field("auto", title="Precision")
    rank: Literal[8, 16] | None = None
    eager: bool = True
    share: float = Field(0.9, gt=0, le=1, json_schema_extra={"unit": "of memory", "advanced": True})
    targets: list[str] = Field(default_factory=lambda: ["q_proj"])


def test_fields_show_title_help_limits_and_default() -> None:
    form = option_form(Options)
    context, dtype = form.fields["max_model_len"], form.fields["dtype"]
    assert (context.label, context.help_text, context.required) == ("Context", "Tokens per request.", False)
    assert (context.widget.attrs["min"], context.widget.attrs["max"]) == (128, 4096)
    assert (dtype.initial, [value for value, _ in dtype.choices]) == ("auto", ["auto", "float32"])
    assert [field.name for field in form.advanced()] == ["share"]
    assert form.fields["share"].unit == "of memory"


def test_given_values_come_back_checked_and_defaults_fill_the_rest() -> None:
    form = option_form(
        Options,
        {"option-max_model_len": "256", "option-dtype": "float32", "option-rank": "16", "option-targets": "a, b"},
    )
    assert form.is_valid(), form.errors
    assert form.options == {
        "max_model_len": 256,
        "dtype": "float32",
        "rank": 16,
        "eager": False,
        "share": 0.9,
        "targets": ["a", "b"],
    }


def test_each_error_stands_at_its_field() -> None:
    form = option_form(Options, {"option-max_model_len": "5", "option-dtype": "int3", "option-share": "0"})
    assert not form.is_valid()
    assert set(form.errors) == {"max_model_len", "dtype", "share"}
    assert "greater than 0" in form.errors["share"][0]


def test_a_form_carries_nothing_but_options() -> None:
    form = option_form(
        Options,
        {"option-dtype": "auto", "option-argv": "rm", "argv": "rm", "option-env": "A=1", "option-x": "--y"},
    )
    assert form.is_valid()
    assert set(form.options) == set(Options.model_fields)


def test_options_that_the_page_sets_itself_are_left_out() -> None:
    assert "dtype" not in option_form(Options, skip=["dtype"]).fields
