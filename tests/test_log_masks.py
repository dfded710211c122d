"""No token reaches a log, whoever wrote the line."""

from __future__ import annotations

import io
import logging

import pytest

from stackweb.log_masks import TokenMask


@pytest.mark.parametrize("prefix", ["swc_", "swt_", "swh_", "swj_", "sk-sw-"])
def test_a_token_is_cut_to_its_prefix(prefix: str) -> None:
    seen = io.StringIO()
    handler = logging.StreamHandler(seen)
    handler.addFilter(TokenMask())
    logger = logging.getLogger("test.masks")
    logger.addHandler(handler)
    try:
        logger.warning("Unprocessable: /claim/%s and 100%% more", f"{prefix}AbC123_-xyz")
    finally:
        logger.removeHandler(handler)
    assert seen.getvalue() == f"Unprocessable: /claim/{prefix}… and 100% more\n"
