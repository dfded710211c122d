"""The forms of data sets and fine-tunes. Option fields come from the engine's own Options."""

from __future__ import annotations

from typing import Any

from django import forms

from apps.accounts.models import User
from apps.catalog.models import ModelVersion
from apps.finetunes.models import Dataset


class DatasetForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="a to z, 0 to 9, dots, hyphens and underscores")
    description = forms.CharField(max_length=300, required=False)
    file = forms.FileField(
        label="JSON lines file",
        required=False,
        help_text='One {"messages": [{"role", "content"}, …]} a line, UTF-8, 64 MiB at most',
    )
    rows = forms.CharField(
        label="Or paste rows",
        required=False,
        help_text="The same lines; read when no file is chosen.",
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("file", "rows"):  # neither is required, yet one of them is
            self.fields[name].is_one_of_two = True  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not cleaned.get("file") and not cleaned.get("rows", "").strip():
            self.add_error("file", "Choose a file or paste rows.")
        return cleaned

    def data_bytes(self) -> bytes:
        if upload := self.cleaned_data.get("file"):
            return bytes(upload.read())
        return str(self.cleaned_data["rows"]).encode()


class FineTuneForm(forms.Form):
    base = forms.ModelChoiceField(queryset=ModelVersion.objects.none(), label="Base model", empty_label=None)
    dataset = forms.ModelChoiceField(queryset=Dataset.objects.none(), label="Dataset", empty_label=None)
    name = forms.CharField(max_length=80, help_text="Also the name of the model it makes")
    engine = forms.ChoiceField(choices=[("axolotl", "Axolotl")])

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions = ModelVersion.objects.visible_to(user).select_related("model")
        weights = versions.filter(artifacts__role="weights", artifacts__format="safetensors").distinct()
        self.fields["base"].queryset = weights.order_by("-pk")  # type: ignore[attr-defined]
        self.fields["dataset"].queryset = Dataset.objects.visible_to(user).order_by("-pk")  # type: ignore[attr-defined]
