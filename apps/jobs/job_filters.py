"""What the list of jobs may be narrowed to. The page, REST and the counts beside the states use the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from urllib.parse import urlencode

from django.db.models import Exists, Model, OuterRef, Q

from apps.accounts.access import teams_of
from apps.accounts.models import Team, User
from apps.accounts.paging import whole_number
from apps.accounts.problems import invalid, unknown_choice
from apps.fleet.models import Host
from apps.jobs.models import Attempt, Job, JobKind
from apps.jobs.querysets import JobQuerySet
from apps.jobs.services import engines_for
from apps.jobs.states import ACTIVE, JobStatus

SHORTEST_TEXT = 3  # letters; the index is of three letters in a row
STATES: dict[str, tuple[str, Q]] = {
    "all": ("All", Q()),
    "active": ("Running", Q(status__in=ACTIVE)),
    "waiting": ("Waiting", Q(status="queued")),
    "attention": ("Needs attention", Q(status__in=["failed", "held"]) | Q(finished_at=None, stalled_at__isnull=False)),
    "done": ("Done", Q(status="succeeded")),
    "cancelled": ("Cancelled", Q(status="cancelled")),
}


@dataclass(frozen=True)
class JobFilter:
    """An empty field narrows nothing."""

    show: str = "all"
    kind: str = ""
    engine: str = ""
    team: str = ""  # slug
    owner: str = ""  # username
    host: str = ""  # any attempt of it was there
    q: str = ""  # part of the name, or the id

    @classmethod
    def from_address(cls, sent: Mapping[str, str]) -> JobFilter:
        """Of a page's query; a state that does not exist shows everything."""
        found = cls(**{each.name: sent.get(each.name, "").strip()[:200] for each in fields(cls)})
        return found if found.show in STATES else replace(found, show="all")

    @property
    def is_narrow(self) -> bool:
        """By more than the state."""
        return replace(self, show="all") != JobFilter()

    @property
    def is_text_too_short(self) -> bool:
        return 0 < len(self.q) < SHORTEST_TEXT and _job_number(self.q) is None

    def address(self, **changes: str) -> str:
        """As a page's query, without what narrows nothing."""
        return urlencode(replace(self, **changes).pairs)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        named = [(each.name, getattr(self, each.name)) for each in fields(self)]
        return [(name, value) for name, value in named if value and (name, value) != ("show", "all")]


def filtered_jobs(user: User, asked: JobFilter) -> JobQuerySet:
    """Those that the person may see, in every state.

    Names are looked up first: with the keys themselves Postgres knows how rare they are.
    """
    rows = Job.objects.all() if user.is_superuser else Job.objects.filter(team__in=teams_of(user))
    if asked.kind:
        rows = rows.filter(kind=asked.kind)
    if asked.engine:
        rows = rows.filter(engine=asked.engine)
    if asked.team:
        rows = rows.filter(team=_key(Team, slug=asked.team))
    if asked.owner:
        rows = rows.filter(created_by=_key(User, username=asked.owner))
    if asked.host:
        tried = Attempt.objects.filter(job=OuterRef("pk"), host=_key(Host, name=asked.host))
        rows = rows.filter(Exists(tried))
    if asked.q and not asked.is_text_too_short:
        rows = rows.filter(_says(asked.q))
    return rows


def _key(model: type[Model], **name: str) -> int:
    """0, which no row has, where nothing is called so."""
    return model._default_manager.filter(**name).values_list("pk", flat=True).first() or 0


def _says(text: str) -> Q:
    number = _job_number(text)
    if number is None:
        return Q(name__icontains=text)
    return Q(pk=number) | Q(name__icontains=text) if len(text) >= SHORTEST_TEXT else Q(pk=number)


def _job_number(text: str) -> int | None:
    return whole_number(text.lower().removeprefix(f"{Job.id_prefix}-"))


def check_filter(user: User, asked: JobFilter, status: str) -> None:
    """Raises Problem 422 naming the first value that no job can have."""
    known = (
        ("status", status, JobStatus.values, "status"),
        ("kind", asked.kind, JobKind.values, "kind of job"),
        ("engine", asked.engine, [name for kind in JobKind.values for name in engines_for(kind)], "engine"),
        ("team", asked.team, [team.slug for team in teams_of(user)], "team of yours"),
    )
    for field, value, choices, noun in known:
        if value and value not in choices:
            raise unknown_choice(field, value, choices, noun=noun)
    if asked.owner and not User.objects.seen_by(user).filter(username=asked.owner).exists():
        raise invalid("owner", f"There is nobody called “{asked.owner}” in your teams.", value=asked.owner)
    if asked.host and not Host.objects.filter(name=asked.host).exists():
        raise unknown_choice("host", asked.host, Host.objects.values_list("name", flat=True), noun="host")
    if asked.is_text_too_short:
        raise invalid("q", f"q must have {SHORTEST_TEXT} letters, or be a job's id such as job-12.", value=asked.q)
