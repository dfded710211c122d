"""What a person asks to import, checked before its source is asked."""

from __future__ import annotations

import re
from dataclasses import replace

from apps.accounts.problems import invalid, unknown_choice
from apps.catalog.models import Model
from apps.catalog.packages import PACKAGED_MODELS
from apps.engines.repository_files import LABEL
from apps.engines.sources import Source, parse_source

REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,79}")
SOURCES = (Model.Source.HUB, Model.Source.OLLAMA, Model.Source.PACKAGE, Model.Source.PATH)


def checked_source(source: str, source_ref: str, revision: str = "", variant: str = "") -> Source:
    """What to fetch. Raises Problem 422 naming the field that is wrong."""
    if source not in SOURCES:
        raise unknown_choice("source", source, SOURCES, noun="source of models")
    if not source_ref:
        raise invalid("source_ref", "Name what to import: a repository, a package or a folder.", value="")
    if len(source_ref) > 400:
        raise invalid("source_ref", "This is longer than 400 characters.", value=source_ref[:40])
    if revision and not REVISION.fullmatch(revision):
        raise invalid("revision", "A revision is a branch, a tag or a commit.", value=revision)
    if variant and (source != Model.Source.HUB or not LABEL.fullmatch(variant)):
        raise invalid("variant", "Only a Hub repository of GGUF files has quantisations to choose from.", value=variant)
    if source == Model.Source.PACKAGE:
        return _checked_package(source_ref, revision)
    if source in (Model.Source.PATH, Model.Source.OLLAMA) and revision:
        raise invalid("revision", "A folder or an Ollama model has no revision; leave it empty.", value=revision)
    text = f"hub:{source_ref}@{revision}" if source == Model.Source.HUB and revision else f"{source}:{source_ref}"
    try:
        found = parse_source(text)
        return replace(found, variant=variant) if variant else found
    except ValueError as error:
        raise invalid("source_ref", str(error), value=source_ref) from None


def _checked_package(source_ref: str, revision: str) -> Source:
    package, _, version = source_ref.partition("==")
    known = PACKAGED_MODELS.get(package)
    if known is None:
        raise unknown_choice("source_ref", package, PACKAGED_MODELS, noun="package with a model")
    asked = version or revision or known.version
    if asked != known.version:
        raise invalid("revision", f"Only {package}=={known.version} is locked and known.", value=asked)
    return Source("package", package, known.version)
