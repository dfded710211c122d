"""The Calibration page and its table as CSV."""

from __future__ import annotations

import csv

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.rest import signed_in
from apps.calibration.calibration_page import calibration_page
from apps.calibration.ledger import entries, groups
from apps.costs.spreadsheet import harmless

COLUMNS = ("quantity", "device", "engine", "formula_version", "n", "median_error", "bias", "nine_in_ten_within",
           "range_held", "factor")  # fmt: skip


@require_safe
def calibration(request: HttpRequest) -> HttpResponse:
    context = calibration_page(signed_in(request), request.GET.get("quantity", ""))
    return render(request, "calibration/calibration.html", context)


@require_safe
def calibration_csv(request: HttpRequest) -> HttpResponse:
    signed_in(request)
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="calibration.csv"'
    writer = csv.writer(answer)
    writer.writerow(COLUMNS)
    for group in groups(entries()):
        known = group.accuracy
        figures = (known.median_error, known.bias, known.nine_in_ten)
        factor = "" if known.factor is None else round(known.factor, 4)
        row = (group.quantity, group.device, group.engine, group.formula_version, known.n)
        cells = [*row, *(round(figure, 4) for figure in figures), known.held, factor]
        writer.writerow([harmless(cell) for cell in cells])
    return answer
