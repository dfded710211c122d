"""Pages of the arena."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import team_for, teams_of, visible_or_404
from apps.accounts.forms import add_problem
from apps.accounts.htmx import part_of, status_of
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.arena import services
from apps.arena.forms import BattleForm
from apps.arena.models import Battle
from apps.arena.standings import standings, vote_counts

RECENT = 20


@require_http_methods(["GET", "HEAD", "POST"])
def arena(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    team = next(iter(teams_of(user)), None)
    live = services.live_endpoints(team) if team else []
    form = BattleForm(request.POST or None, endpoints=live)
    if request.method == "POST" and form.is_valid():
        try:
            battle = services.create_battle(team=team_for(user, None), user=user, **form.cleaned_data)
            return redirect("battle", battle.public_id)
        except Problem as problem:
            add_problem(form, problem)
    recent = Battle.objects.visible_to(user).select_related("left", "right", "vote").order_by("-pk")[:RECENT]
    context = {"form": form, "live": live, "battles": recent, "standings": standings(user), "votes": vote_counts(user)}
    return render(request, "arena/arena.html", context, status=422 if request.method == "POST" else 200)


@require_safe
@vary_on_headers("HX-Request")
def battle(request: HttpRequest, battle_id: str) -> HttpResponse:
    row = _visible_battle(request, battle_id)
    part, status = part_of(request, "live"), status_of(request, is_over=row.state != "waiting")
    context = {"battle": row, "state": row.state, "standings": standings(signed_in(request))}
    return render(request, f"arena/battle.html{part}", context, status=status)


@require_POST
def battle_vote(request: HttpRequest, battle_id: str) -> HttpResponse:
    row = _visible_battle(request, battle_id)
    try:
        services.vote_on_battle(battle=row, user=signed_in(request), choice=request.POST.get("choice", ""))
    except Problem as problem:
        messages.error(request, str(problem))
    return redirect("battle", row.public_id)


def _visible_battle(request: HttpRequest, battle_id: str) -> Battle:
    rows = Battle.objects.select_related("left", "right", "vote", "team")
    row: Battle = visible_or_404(rows, signed_in(request), battle_id, noun="battle")
    return row
