"""Amounts of money as people read them."""

from __future__ import annotations

from decimal import Decimal

_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def sign(currency: str) -> str:
    return _SIGNS.get(currency, currency)


def money(value: Decimal | float | None, currency: str = "USD") -> str:
    """ "$ 5.90", "€ 1,204", "CHF 0.0412"; "–" where nothing is known."""
    if value is None:
        return "–"
    amount = float(value)
    digits = 0 if amount >= 1000 else 2 if amount >= 0.01 or amount == 0 else 4
    return f"{sign(currency)} {amount:,.{digits}f}"
