"""What was measured, as it is printed and written."""

from __future__ import annotations

FIGURES: list[dict[str, object]] = []


def note(key: str, what: str, value: float, unit: str, target: str, ok: bool) -> None:
    FIGURES.append({"id": key, "what": what, "value": round(value, 4), "unit": unit, "target": target, "ok": ok})
    print(f"{key:<5}{what:<70}{value:>10.3f} {unit:<7}{target:<16}{'ok' if ok else 'MISSED'}", flush=True)
