"""The doors: log in, log out, and the one-time link that sets a password."""

from __future__ import annotations

from django.contrib.auth import login as start_session
from django.contrib.auth import logout as end_session
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.models import User
from apps.accounts.problems import Problem
from apps.accounts.services import open_claim, use_claim
from apps.accounts.sign_in import check_password, safe_next


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    sent = request.POST if request.method == "POST" else request.GET
    target = safe_next(sent.get("next", ""))
    if request.user.is_authenticated:
        return redirect(target or reverse("overview"))
    is_unclaimed = not User.objects.admins().exists()
    page = {"next": target, "username": sent.get("username", ""), "problem": None, "is_unclaimed": is_unclaimed}
    if request.method == "POST":
        try:
            user = check_password(request, username=sent.get("username", ""), password=sent.get("password", ""))
        except Problem as problem:
            return render(request, "accounts/login.html", page | {"problem": problem}, status=problem.status)
        start_session(request, user)
        return redirect(target or reverse("overview"))
    return render(request, "accounts/login.html", page)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    end_session(request)
    return redirect("login")


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def claim(request: HttpRequest, token: str) -> HttpResponse:
    try:
        page = {"claim": open_claim(token), "values": request.POST, "problem": None}
    except Problem as problem:
        return render(request, "accounts/claim_over.html", {"problem": problem}, status=problem.status)
    if request.method != "POST":
        return render(request, "accounts/claim.html", page)
    try:
        user = use_claim(
            plain=token,
            username=request.POST.get("username", ""),
            display_name=request.POST.get("display_name", ""),
            password=request.POST.get("password", ""),
        )
    except Problem as problem:
        return render(request, "accounts/claim.html", page | {"problem": problem}, status=problem.status)
    start_session(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("overview")
