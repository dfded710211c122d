"""The deploy form. Its option fields come from the engine's own Options (apps.jobs.option_form)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django import forms

from apps.accounts.models import User
from apps.accounts.paging import whole_number
from apps.catalog.models import ModelVersion
from apps.catalog.placement import loads
from apps.engines.registry import get_engine
from apps.jobs.services import engines_for

# Offered in this order; another that may be asked for is shown only once it is chosen.
OFFERED = {"vllm": "most models, fastest", "llama-cpp": "GGUF files, small machines"}


class EndpointForm(forms.Form):
    version = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        label="Model version",
        empty_label=None,
        help_text="Pinned, so a restart never changes it.",
    )
    name = forms.CharField(max_length=63, required=False, label="Endpoint name", help_text="Apps send it as the model.")
    engine = forms.ChoiceField(choices=[], initial="vllm")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions = ModelVersion.objects.visible_to(user).select_related("model")
        self.fields["version"].queryset = versions.order_by("-pk")  # type: ignore[attr-defined]
        self.fields["engine"].choices = [(name, get_engine(name).title) for name in engines_for("serve")]  # type: ignore[attr-defined]

    def offered_engines(self) -> list[dict[str, Any]]:
        """The choices on the page: those that load the version's files, and the engine that is chosen."""
        chosen = self.engine_name()
        names = [name for name in OFFERED if name == chosen or self._loads(name)]
        names += [] if chosen in names else [chosen]
        return [
            {
                "name": name,
                "title": get_engine(name).title,
                "note": OFFERED.get(name, "for tests"),
                "chosen": name == chosen,
            }
            for name in names
        ]

    def engine_name(self) -> str:
        """The chosen engine; where the choice is none, or cannot load the version, the first that can."""
        known = dict(self.fields["engine"].choices)  # type: ignore[attr-defined]
        given = str(self["engine"].value() or "")
        return given if given in known and self._loads(given) else next(filter(self._loads, OFFERED))

    def _loads(self, engine: str) -> bool:
        version = self.chosen_version
        return version is None or loads(get_engine(engine), version)

    @cached_property
    def chosen_version(self) -> ModelVersion | None:
        """Of a form that may be half filled: the version shown in the select."""
        queryset = self.fields["version"].queryset  # type: ignore[attr-defined]
        given = str(self["version"].value() or "")
        row: ModelVersion | None = queryset.filter(pk=whole_number(given)).first()
        return row or queryset.first()
