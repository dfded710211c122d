"""Keeps one-time links and tokens out of what is logged, wherever they stood."""

from __future__ import annotations

import logging
import re

_TOKEN = re.compile(r"\b(sw[a-z]_|sk-sw-)[\w-]{6,}")


def masked(text: str) -> str:
    """The text with every token cut to its prefix: "/claim/swc_…"."""
    return _TOKEN.sub(r"\1…", text)


class TokenMask(logging.Filter):
    """On a handler, so that no logger escapes it."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if (clean := masked(text)) != text:
            record.msg, record.args = clean, ()
        return True
