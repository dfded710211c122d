"""One form field for each option of an engine, and back to options that the engine has checked.

The fields come from the engine's pydantic class, so a form can never carry anything else: no argv, no
environment. A field may name its unit, or that few people need it, by
`json_schema_extra={"unit": "tokens", "advanced": True}`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from pydantic import BaseModel, ValidationError

JsonSchema = dict[str, Any]


class OptionsForm(forms.Form):
    """Fields named after the options, under the prefix `option-`. After `is_valid()`, read `options`."""

    def __init__(self, options_class: type[BaseModel], *args: Any, skip: Iterable[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("prefix", "option")
        super().__init__(*args, **kwargs)
        self.options_class = options_class
        self.options: dict[str, Any] = {}
        for name, schema in _properties(options_class, set(skip)).items():
            self.fields[name] = _field(name, schema)
        if not self.is_bound:
            self._start_with(self.initial)

    def _start_with(self, initial: Mapping[str, Any]) -> None:
        """A preview counts on what the form opens with; a wrong value is only shown, until it is sent."""
        with contextlib.suppress(ValidationError):
            self.options = self.options_class.model_validate(initial).model_dump(mode="json")

    def clean(self) -> dict[str, Any]:
        """Hands every given value to the engine's own class; each of its findings lands on its field."""
        given = {name: value for name, value in self.cleaned_data.items() if value not in (None, "", [])}
        try:
            self.options = self.options_class.model_validate(given).model_dump(mode="json")
        except ValidationError as error:
            for item in error.errors():
                field = str(item["loc"][0]) if item["loc"] else None
                self.add_error(field if field in self.fields else None, _sentence(item))
        return given

    def common(self) -> list[forms.BoundField]:
        return [self[name] for name, field in self.fields.items() if not getattr(field, "advanced", False)]

    def advanced(self) -> list[forms.BoundField]:
        return [self[name] for name, field in self.fields.items() if getattr(field, "advanced", False)]


def option_form(
    options_class: type[BaseModel],
    data: Mapping[str, Any] | None = None,
    *,
    initial: Mapping[str, Any] | None = None,
    skip: Iterable[str] = (),
) -> OptionsForm:
    """A form for the options; `initial` overrides defaults, `skip` names options the page sets itself."""
    return OptionsForm(options_class, data, skip=skip, initial=dict(initial or {}))


def _properties(options_class: type[BaseModel], skip: set[str]) -> dict[str, JsonSchema]:
    whole = options_class.model_json_schema()
    found = {}
    for name, schema in whole.get("properties", {}).items():
        if name not in skip:
            found[name] = _flat(schema, whole.get("$defs", {})) | {"required": name in whole.get("required", [])}
    return found


def _flat(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """The schema with its reference followed and its `or null` taken off."""
    flat = dict(schema)
    if "$ref" in flat:
        flat = _flat(definitions[flat.pop("$ref").rpartition("/")[2]], definitions) | flat
    for part in flat.pop("anyOf", []):
        if part.get("type") == "null":
            flat["nullable"] = True
        else:
            flat = _flat(part, definitions) | flat
    return flat


def _field(name: str, schema: JsonSchema) -> forms.Field:
    shown: dict[str, Any] = {
        "label": schema.get("title") or name,
        "help_text": schema.get("description", ""),
        "initial": schema.get("default"),
        "required": bool(schema.get("required")),
    }
    field = _typed_field(schema, shown)
    field.unit = schema.get("unit", "")  # type: ignore[attr-defined]
    field.has_own_default = True  # type: ignore[attr-defined]
    field.advanced = bool(schema.get("advanced"))  # type: ignore[attr-defined]
    return field


def _typed_field(schema: JsonSchema, shown: dict[str, Any]) -> forms.Field:
    kind = schema.get("type")
    if "enum" in schema:
        return _choice_field(schema, shown)
    if kind == "boolean":
        return forms.BooleanField(**(shown | {"required": False}))
    if kind in ("integer", "number"):
        number = forms.IntegerField if kind == "integer" else forms.FloatField
        return number(**_limits(schema), **shown)
    if kind == "array":
        return ListField(**shown)
    return forms.CharField(max_length=schema.get("maxLength", 400), **shown)


def _choice_field(schema: JsonSchema, shown: dict[str, Any]) -> forms.Field:
    """A browser sends text; the engine gets the value itself, such as the number 16."""
    by_text = {str(value): value for value in schema["enum"]}
    choices = [(text, text) for text in by_text]
    return forms.TypedChoiceField(
        choices=[("", "Default"), *choices] if schema.get("nullable") else choices,
        coerce=by_text.__getitem__,
        empty_value=None,
        **shown,
    )


def _limits(schema: JsonSchema) -> dict[str, Any]:
    """Inclusive limits for the browser; exclusive ones are left to the engine's class."""
    return {"min_value": schema.get("minimum"), "max_value": schema.get("maximum")}


class ListField(forms.CharField):
    """Several words in one line, with commas or blanks between."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> Any:
        return [word for word in str(value or "").replace(",", " ").split() if word]


def _sentence(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{message}." if not message.endswith(".") else message
