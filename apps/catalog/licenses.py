"""What a licence's name tells: which class it is of. A name is no legal advice, and an unknown one stays unknown."""

from __future__ import annotations

import re
from enum import StrEnum


class LicenseClass(StrEnum):
    PERMISSIVE = "permissive"
    COPYLEFT = "copyleft"
    COMMUNITY = "community"
    NON_COMMERCIAL = "non_commercial"
    UNKNOWN = "unknown"


TITLES: dict[LicenseClass, tuple[str, str]] = {
    LicenseClass.PERMISSIVE: ("Permissive", "Apache 2.0, MIT, BSD, CC BY"),
    LicenseClass.COPYLEFT: ("Copyleft", "GPL, AGPL, CC BY-SA: what is made from it keeps the licence"),
    LicenseClass.COMMUNITY: ("Community terms", "Llama, Gemma, Qwen, OpenRAIL: use is allowed within their terms"),
    LicenseClass.NON_COMMERCIAL: ("Non-commercial", "CC BY-NC, research licences"),
    LicenseClass.UNKNOWN: ("Unknown", "no licence named, or one that is not known here"),
}
# The first pattern that a licence's name matches decides. Names are those of the Hub's license field.
_PATTERNS: tuple[tuple[str, LicenseClass], ...] = (
    (r"commons[-_ ]clause|^busl|^bsl-1\.1|business[-_ ]source", LicenseClass.UNKNOWN),  # other terms on a known name
    (r"(^|[-_ ])nc([-_ ]|$)|non-?commercial|research|\bmrl\b|mnpl", LicenseClass.NON_COMMERCIAL),
    (r"^(a|l)?gpl|-sa([-_ ]|$)|^eupl|^mpl|^osl|^cc-by-sa", LicenseClass.COPYLEFT),
    (r"^apache|^mit$|^mit[-_ ]|^bsd|^isc$|^zlib|^unlicense|^wtfpl|^cc0|^cc-by-\d|^ms-pl|^postgresql|^ncsa|^bsl-1\.0",
     LicenseClass.PERMISSIVE),
    (r"llama|gemma|qwen|tongyi|rail|deepseek|falcon|nvidia|nemotron|glm|yi-|internlm|baichuan|hunyuan|exaone|cohere"
     r"|minimax|kimi|grok|jamba|dbrx|databricks|bigscience|bigcode|apple|health-ai|lfm", LicenseClass.COMMUNITY),
)  # fmt: skip


def license_class(name: str) -> LicenseClass:
    lowered = name.strip().lower()
    return next((found for pattern, found in _PATTERNS if re.search(pattern, lowered)), LicenseClass.UNKNOWN)
