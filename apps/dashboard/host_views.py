"""One host's page and what an operator does there."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from apps.accounts.actions import act
from apps.accounts.htmx import htmx_of
from apps.accounts.paging import whole_number
from apps.accounts.problems import invalid
from apps.accounts.rest import signed_in
from apps.dashboard.host_history import history_facts
from apps.dashboard.host_page import host_facts
from apps.fleet.models import Device, Host
from apps.fleet.operations import cordon_host, set_price, uncordon_host
from apps.jobs.host_operations import drain_host, fence_host, remove_host, set_slots


@require_safe
@vary_on_headers("HX-Request")
def host(request: HttpRequest, host_name: str) -> HttpResponse:
    found = get_object_or_404(Host, name=host_name)
    htmx = htmx_of(request)
    if htmx and htmx.target != "history":
        return render(request, "dashboard/host.html#live", host_facts(signed_in(request), found))
    history = history_facts(found, span=request.GET.get("span", ""), device=request.GET.get("device", ""))
    if htmx:
        return render(request, "fleet/history.html", {"host": found, "history": history})
    return render(request, "dashboard/host.html", host_facts(signed_in(request), found) | {"history": history})


@require_POST
def host_cordon(request: HttpRequest, host_name: str) -> HttpResponse:
    reason = request.POST.get("reason", "")
    said = f"{host_name} takes no new work."
    return _act(request, host_name, lambda host: cordon_host(host=host, user=signed_in(request), reason=reason), said)


@require_POST
def host_uncordon(request: HttpRequest, host_name: str) -> HttpResponse:
    said = f"{host_name} takes work again."
    return _act(request, host_name, lambda host: uncordon_host(host=host, user=signed_in(request)), said)


@require_POST
def host_drain(request: HttpRequest, host_name: str) -> HttpResponse:
    now = bool(request.POST.get("now"))
    said = f"{host_name} is being drained."
    return _act(request, host_name, lambda host: drain_host(host=host, user=signed_in(request), now=now), said)


@require_POST
def host_fence(request: HttpRequest, host_name: str) -> HttpResponse:
    confirm, force = request.POST.get("confirm", "").strip(), bool(request.POST.get("force"))
    user = signed_in(request)
    said = f"{host_name} is fenced. Its jobs run elsewhere."
    return _act(request, host_name, lambda host: fence_host(host=host, user=user, confirm=confirm, force=force), said)


@require_POST
def host_remove(request: HttpRequest, host_name: str) -> HttpResponse:
    said = f"{host_name} is removed. Its jobs keep its name."
    return _act(request, host_name, lambda host: remove_host(host=host, user=signed_in(request)), said)


@require_POST
def host_price(request: HttpRequest, host_name: str) -> HttpResponse:
    def change(host: Host) -> object:
        price = _price(request.POST.get("gpu_hour_price", "").strip())
        return set_price(host=host, user=signed_in(request), gpu_hour_price=price)

    return _act(request, host_name, change, f"The price of {host_name} is kept.")


def _price(text: str) -> Decimal | None:
    """Empty takes the type's. Raises Problem 422 for what is no number."""
    try:
        return Decimal(text.replace(",", ".")) if text else None
    except InvalidOperation:
        raise invalid("gpu_hour_price", "gpu_hour_price must be a number, such as 2.50.", value=text[:20]) from None


@require_POST
def device_slots(request: HttpRequest, host_name: str, index: int) -> HttpResponse:
    def change(host: Host) -> object:
        device = get_object_or_404(Device, host=host, kind=Device.Kind.GPU, index=index, is_present=True)
        slots = whole_number(request.POST.get("slots", "").strip())
        return set_slots(device=device, user=signed_in(request), slots=slots or 0)

    return _act(request, host_name, change, f"The slots of GPU {index} are kept.")


def _act(request: HttpRequest, host_name: str, service: Callable[[Host], object], said: str) -> HttpResponse:
    host = get_object_or_404(Host, name=host_name)
    act(request, lambda: service(host), said)
    is_listed = Host.objects.filter(pk=host.pk).exists()  # a removed host has no page
    to_list = request.POST.get("back") == "hardware" or not is_listed
    return redirect("hardware") if to_list else redirect("host", host.name)
