"""Names that become parts of addresses."""

from __future__ import annotations

import re

# A label of a host name: lower-case letters, digits and inner hyphens, 63 at most.
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def label_from(text: str, *, longest: int = 63) -> str:
    """The nearest label: `SmolLM2.135M` becomes `smollm2-135m`; empty where no letter or digit is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-")
