"""The form of a new battle."""

from __future__ import annotations

from typing import Any

from django import forms

from apps.arena.services import MAX_PROMPT
from apps.serving.models import Endpoint


class BattleForm(forms.Form):
    prompt = forms.CharField(max_length=MAX_PROMPT, widget=forms.Textarea(attrs={"rows": 4}))
    first = forms.ChoiceField(required=False, label="One endpoint")
    second = forms.ChoiceField(required=False, label="Another endpoint")

    def __init__(self, *args: Any, endpoints: list[Endpoint], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by_id = {endpoint.public_id: endpoint for endpoint in endpoints}
        choices = [("", "Drawn by lot"), *((key, endpoint.name) for key, endpoint in self.by_id.items())]
        for name in ("first", "second"):
            self.fields[name].choices = choices  # type: ignore[attr-defined]

    def clean_first(self) -> Endpoint | None:
        return self.by_id.get(self.cleaned_data["first"])

    def clean_second(self) -> Endpoint | None:
        return self.by_id.get(self.cleaned_data["second"])
