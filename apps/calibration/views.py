"""The Calibration page and its table as CSV."""

from __future__ import annotations

import csv

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.rest import signed_in
from apps.calibration.calibration_page import calibration_page
from apps.calibration.ledger import entries, family_groups, groups
from apps.costs.spreadsheet import harmless

COLUMNS = ("quantity", "device", "engine", "formula_version", "n", "median_error", "bias", "nine_in_ten_within",
           "range_held", "factor", "family")  # fmt: skip


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
    known = entries()
    for group in (*groups(known), *family_groups(known)):
        told = group.accuracy
        figures = (told.median_error, told.bias, told.nine_in_ten)
        factor = "" if told.factor is None else round(told.factor, 4)
        row = (group.quantity, group.device, group.engine, group.formula_version, told.n)
        cells = [*row, *(round(figure, 4) for figure in figures), told.held, factor, group.family]
        writer.writerow([harmless(cell) for cell in cells])
    return answer
