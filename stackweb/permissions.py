"""The permission matrix: every address and method, and who may use it. A missing row denies.

The row says how far in a person gets; which rows of the database they then see is decided by
`visible_to` and `editable_by` of the querysets: another team's object answers 404.
"""

from __future__ import annotations

from enum import Enum


class Access(Enum):
    PUBLIC = "anyone"
    SIGNED_IN = "anyone signed in"
    MEMBER = "members of a team"
    TEAM_ADMIN = "admins of a team"
    ADMIN = "admins of the installation"
    HOST = "hosts that joined"


PUBLIC, SIGNED_IN, MEMBER = Access.PUBLIC, Access.SIGNED_IN, Access.MEMBER
TEAM_ADMIN, ADMIN, HOST = Access.TEAM_ADMIN, Access.ADMIN, Access.HOST

MATRIX: dict[str, Access] = {
    # doors
    "GET /healthz": PUBLIC,
    "GET /login": PUBLIC,
    "POST /login": PUBLIC,
    "POST /logout": SIGNED_IN,
    "GET /claim/<str:token>": PUBLIC,
    "POST /claim/<str:token>": PUBLIC,
    # pages
    "GET /": SIGNED_IN,
    "GET /search": SIGNED_IN,
    "GET /models": SIGNED_IN,
    "GET /models/import": MEMBER,
    "POST /models/import": MEMBER,
    "GET /models/<str:model_id>": SIGNED_IN,
    "GET /endpoints": SIGNED_IN,
    "GET /endpoints/new": MEMBER,
    "POST /endpoints/new": MEMBER,
    "POST /endpoints/preview": MEMBER,
    "GET /endpoints/<str:endpoint_id>": SIGNED_IN,
    "POST /endpoints/<str:endpoint_id>/stop": MEMBER,
    "POST /endpoints/<str:endpoint_id>/start": MEMBER,
    "POST /endpoints/<str:endpoint_id>/chat": MEMBER,
    "GET /fine-tunes": SIGNED_IN,
    "GET /fine-tunes/new": MEMBER,
    "POST /fine-tunes/new": MEMBER,
    "POST /fine-tunes/preview": MEMBER,
    "GET /fine-tunes/<str:fine_tune_id>": SIGNED_IN,
    "GET /evaluations": SIGNED_IN,
    "GET /evaluations/new": MEMBER,
    "POST /evaluations/new": MEMBER,
    "POST /evaluations/preview": MEMBER,
    "GET /evaluations/<str:run_id>": SIGNED_IN,
    "GET /evaluations/<str:run_id>/samples/<int:sample_id>": SIGNED_IN,
    "GET /leaderboard": SIGNED_IN,
    "GET /leaderboard/compare": SIGNED_IN,
    "GET /arena": SIGNED_IN,
    "POST /arena": MEMBER,
    "GET /arena/<str:battle_id>": SIGNED_IN,
    "POST /arena/<str:battle_id>/vote": MEMBER,
    "GET /jobs": SIGNED_IN,
    "GET /jobs/<str:job_id>": SIGNED_IN,
    "GET /jobs/<str:job_id>/log": SIGNED_IN,
    "GET /jobs/<str:job_id>/log/stream": SIGNED_IN,
    "GET /jobs/<str:job_id>/metrics/stream": SIGNED_IN,
    "POST /jobs/<str:job_id>/cancel": MEMBER,
    "POST /jobs/<str:job_id>/retry": MEMBER,
    "GET /hardware": SIGNED_IN,
    "GET /hardware/<str:host_name>": SIGNED_IN,
    "POST /hardware/<str:host_name>/cordon": ADMIN,
    "POST /hardware/<str:host_name>/uncordon": ADMIN,
    "POST /hardware/<str:host_name>/drain": ADMIN,
    "POST /hardware/<str:host_name>/fence": ADMIN,
    "POST /hardware/<str:host_name>/price": ADMIN,
    "POST /hardware/<str:host_name>/devices/<int:index>/slots": ADMIN,
    "GET /jobs/<str:job_id>/cost": SIGNED_IN,
    "GET /usage": SIGNED_IN,
    "GET /usage.csv": SIGNED_IN,
    "GET /datasets": SIGNED_IN,
    "GET /datasets/new": MEMBER,
    "POST /datasets/new": MEMBER,
    "GET /datasets/<str:dataset_id>": SIGNED_IN,
    "GET /settings": SIGNED_IN,
    "POST /settings/people": TEAM_ADMIN,
    "POST /settings/people/<int:user_id>": TEAM_ADMIN,
    "POST /settings/teams": ADMIN,
    "GET /settings/tokens": SIGNED_IN,
    "POST /settings/tokens/new": SIGNED_IN,
    "POST /settings/tokens/<int:token_id>/revoke": SIGNED_IN,
    "POST /settings/keys": MEMBER,
    "POST /settings/keys/<str:key_id>/revoke": MEMBER,
    "POST /settings/join-tokens": ADMIN,
    "GET /tour": SIGNED_IN,
    "POST /tour": MEMBER,
    "GET /tour/<str:tour_id>": SIGNED_IN,
    # REST
    "GET /api/docs": SIGNED_IN,
    "GET /api/v1/openapi.json": SIGNED_IN,
    "GET /api/v1/models": SIGNED_IN,
    "GET /api/v1/models/<model_id>": SIGNED_IN,
    "POST /api/v1/models": MEMBER,
    "POST /api/v1/models/import": MEMBER,
    "GET /api/v1/endpoints": SIGNED_IN,
    "POST /api/v1/endpoints": MEMBER,
    "GET /api/v1/endpoints/<endpoint_id>": SIGNED_IN,
    "POST /api/v1/endpoints/<endpoint_id>/stop": MEMBER,
    "POST /api/v1/endpoints/<endpoint_id>/start": MEMBER,
    "GET /api/v1/datasets": SIGNED_IN,
    "POST /api/v1/datasets": MEMBER,
    "GET /api/v1/datasets/<dataset_id>": SIGNED_IN,
    "GET /api/v1/fine-tunes": SIGNED_IN,
    "POST /api/v1/fine-tunes": MEMBER,
    "GET /api/v1/fine-tunes/<fine_tune_id>": SIGNED_IN,
    "GET /api/v1/eval-suites": SIGNED_IN,
    "GET /api/v1/eval-runs": SIGNED_IN,
    "POST /api/v1/eval-runs": MEMBER,
    "GET /api/v1/eval-runs/<run_id>": SIGNED_IN,
    "GET /api/v1/eval-runs/<run_id>/samples": SIGNED_IN,
    "GET /api/v1/leaderboard": SIGNED_IN,
    "GET /api/v1/leaderboard/compare": SIGNED_IN,
    "GET /api/v1/arena/battles": SIGNED_IN,
    "POST /api/v1/arena/battles": MEMBER,
    "POST /api/v1/arena/battles/<battle_id>/vote": MEMBER,
    "GET /api/v1/costs": SIGNED_IN,
    "GET /api/v1/jobs/<job_id>/cost": SIGNED_IN,
    "GET /api/v1/jobs": SIGNED_IN,
    "GET /api/v1/jobs/<job_id>": SIGNED_IN,
    "POST /api/v1/jobs/<job_id>/cancel": MEMBER,
    "POST /api/v1/jobs/<job_id>/retry": MEMBER,
    "GET /api/v1/jobs/<job_id>/logs": SIGNED_IN,
    "GET /api/v1/jobs/<job_id>/metrics": SIGNED_IN,
    "POST /api/v1/pipelines": MEMBER,
    "GET /api/v1/schedules": SIGNED_IN,
    "POST /api/v1/schedules": MEMBER,
    "GET /api/v1/schedules/<schedule_id>": SIGNED_IN,
    "DELETE /api/v1/schedules/<schedule_id>": MEMBER,
    "POST /api/v1/schedules/<schedule_id>/enable": MEMBER,
    "POST /api/v1/schedules/<schedule_id>/disable": MEMBER,
    "POST /api/v1/schedules/<schedule_id>/run": MEMBER,
    "GET /api/v1/hosts": SIGNED_IN,
    "GET /api/v1/hosts/<host_name>": SIGNED_IN,
    "PATCH /api/v1/hosts/<host_name>": ADMIN,
    "POST /api/v1/hosts/<host_name>/cordon": ADMIN,
    "POST /api/v1/hosts/<host_name>/uncordon": ADMIN,
    "POST /api/v1/hosts/<host_name>/drain": ADMIN,
    "POST /api/v1/hosts/<host_name>/fence": ADMIN,
    "PATCH /api/v1/hosts/<host_name>/devices/<index>": ADMIN,
    "POST /api/v1/join-tokens": ADMIN,
    "GET /api/v1/virtual-keys": SIGNED_IN,
    "POST /api/v1/virtual-keys": MEMBER,
    "DELETE /api/v1/virtual-keys/<key_id>": MEMBER,
    "GET /api/v1/users": SIGNED_IN,
    "POST /api/v1/users": TEAM_ADMIN,
    "PATCH /api/v1/users/<user_id>": TEAM_ADMIN,
    "POST /api/v1/users/<user_id>/claim-link": ADMIN,
    "GET /api/v1/teams": SIGNED_IN,
    "POST /api/v1/teams": ADMIN,
    "GET /api/v1/tokens": SIGNED_IN,
    "POST /api/v1/tokens": SIGNED_IN,
    "DELETE /api/v1/tokens/<token_id>": SIGNED_IN,
    "GET /api/v1/tours": SIGNED_IN,
    "POST /api/v1/tours": MEMBER,
    "GET /api/v1/tours/<tour_id>": SIGNED_IN,
    # workers (docs/worker-protocol.md); join checks its own one-time token
    "POST /api/worker/v1/join": PUBLIC,
    "GET /api/worker/v1/assignments": HOST,
    "POST /api/worker/v1/attempts/<uuid>/claim": HOST,
    "POST /api/worker/v1/attempts/<uuid>/started": HOST,
    "POST /api/worker/v1/attempts/<uuid>/logs": HOST,
    "POST /api/worker/v1/attempts/<uuid>/metrics": HOST,
    "POST /api/worker/v1/attempts/<uuid>/outputs": HOST,
    "POST /api/worker/v1/attempts/<uuid>/finish": HOST,
    "GET /api/worker/v1/inputs/<sha256>": HOST,
    "POST /api/worker/v1/heartbeat": HOST,
    "POST /api/worker/v1/inventory": HOST,
    "POST /api/worker/v1/leave": HOST,
    "POST /api/worker/v1/telemetry": HOST,
}


def access_of(method: str, route: str) -> Access | None:
    """The row for a resolved route such as `jobs/<str:job_id>`; None where there is none."""
    return MATRIX.get(f"{'GET' if method == 'HEAD' else method} /{route}")


def methods_of(route: str) -> list[str]:
    """The methods that have a row for the route."""
    return [method for method, _, path in (row.partition(" ") for row in MATRIX) if path == f"/{route}"]
