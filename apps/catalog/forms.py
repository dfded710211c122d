"""One form for each source of models; the Add model page shows them side by side."""

from __future__ import annotations

from typing import ClassVar

from django import forms

from apps.catalog.models import Model
from apps.fleet.models import Host


def _host_field(label: str, empty: str) -> forms.ModelChoiceField[Host]:
    hosts = Host.objects.order_by("name")
    return forms.ModelChoiceField(hosts, label=label, to_field_name="name", required=False, empty_label=empty)


class ImportForm(forms.Form):
    """`source` is fixed by the class."""

    source: ClassVar[Model.Source]


class HubForm(ImportForm):
    source = Model.Source.HUB
    source_ref = forms.CharField(label="Repository", max_length=400, help_text="owner/name, as in its address")
    variant = forms.CharField(max_length=60, required=False, widget=forms.HiddenInput)
    revision = forms.CharField(max_length=80, required=False, help_text="Branch, tag or commit; main when empty")
    name = forms.CharField(max_length=120, required=False, help_text="As in the repository when empty")
    host = _host_field("Download to", "Any host")


class OllamaForm(ImportForm):
    source = Model.Source.OLLAMA
    source_ref = forms.CharField(label="Model", max_length=400, help_text="name:tag, such as llama3.2:3b")
    name = forms.CharField(max_length=120, required=False, help_text="As in the registry when empty")
    host = _host_field("Download to", "Any host")


class FolderForm(ImportForm):
    source = Model.Source.PATH
    source_ref = forms.CharField(
        label="Folder or GGUF file",
        max_length=400,
        help_text="Absolute: a folder with config.json and .safetensors, or one .gguf; read, never changed",
    )
    name = forms.CharField(max_length=120, required=False, help_text="As the folder when empty")
    host = _host_field("On host", "Choose a host")


class PackageForm(ImportForm):
    source = Model.Source.PACKAGE
    source_ref = forms.CharField(widget=forms.HiddenInput, max_length=400)
    host = _host_field("Download to", "Any host")


FORMS: dict[str, type[ImportForm]] = {
    form.source.value: form for form in (HubForm, OllamaForm, FolderForm, PackageForm)
}
