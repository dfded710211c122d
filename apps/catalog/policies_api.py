"""REST: a team's model policy."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from apps.accounts.access import team_or_404
from apps.accounts.rest import signed_in
from apps.catalog.policies import policy_facts, policy_of, set_policy

router = Router(tags=["teams"])


class PolicyIn(Schema, extra="forbid"):
    license_classes: list[str] = Field(
        [], description="permissive, copyleft, community, non_commercial, unknown; empty with no licenses: every one"
    )
    licenses: list[str] = Field([], description="allowed besides, by name: apache-2.0")
    formats: list[str] = Field(
        ["safetensors", "gguf"],
        description="safetensors; gguf and pytorch where allowed. pytorch: pickled files beside the weights",
    )
    remote_code: bool = Field(False, description="models whose config names Python of their repository")


class PolicyOut(Schema):
    team: str
    license_classes: list[str]
    licenses: list[str]
    formats: list[str]
    remote_code: bool


@router.get("/teams/{team_slug}/policy", response=PolicyOut)
def get_policy(request: HttpRequest, team_slug: str) -> dict[str, Any]:
    team = team_or_404(signed_in(request), team_slug)
    return {"team": team.slug, **policy_facts(policy_of(team))}


@router.put("/teams/{team_slug}/policy", response=PolicyOut)
def put_policy(request: HttpRequest, team_slug: str, payload: PolicyIn) -> dict[str, Any]:
    """Replaces the policy; what runs goes on."""
    team = team_or_404(signed_in(request), team_slug)
    policy = set_policy(team=team, user=signed_in(request), **payload.model_dump())
    return {"team": team.slug, **policy_facts(policy)}
