"""The form of a new eval run. Option fields come from the engine's own Options."""

from __future__ import annotations

from typing import Any

from django import forms

from apps.accounts.models import User
from apps.accounts.paging import whole_number
from apps.catalog.models import ModelVersion
from apps.evals.models import Suite
from apps.evals.plans import MAX_FEWSHOT


class EvalRunForm(forms.Form):
    version = forms.ModelChoiceField(queryset=ModelVersion.objects.none(), label="Model", empty_label=None)
    suite = forms.ModelChoiceField(queryset=Suite.objects.none(), empty_label=None)
    limit = forms.IntegerField(
        required=False, min_value=1, label="First items only", help_text="Of each task. Empty takes all."
    )
    num_fewshot = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_FEWSHOT,
        label="Few-shot examples",
        help_text="Empty keeps what each task asks for.",
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions = ModelVersion.objects.visible_to(user).filter(artifacts__format="safetensors").select_related("model")
        self.fields["version"].queryset = versions.distinct().order_by("-pk")  # type: ignore[attr-defined]
        self.fields["suite"].queryset = Suite.objects.filter(is_current=True).order_by("name")  # type: ignore[attr-defined]


def initial_of(query: dict[str, str], user: User) -> dict[str, Any]:
    """What a link chose: `version` by id or number, `suite` by name."""
    suite = Suite.objects.filter(name=query.get("suite", ""), is_current=True).first()
    chosen = {
        "version": whole_number(query.get("version", "").removeprefix("mv-")),
        "suite": suite.pk if suite else None,
    }
    kept = {name: query[name] for name in ("limit", "num_fewshot") if whole_number(query.get(name, "")) is not None}
    return chosen | kept
