"""Who wins how often, with the interval that so few votes allow."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, F, Q

from apps.accounts.models import User
from apps.arena.models import Battle, Vote
from apps.statistics.intervals import Interval, wilson_interval

_LEFT, _RIGHT, _TIE, _BAD = Vote.Choice.LEFT, Vote.Choice.RIGHT, Vote.Choice.TIE, Vote.Choice.BOTH_BAD


@dataclass
class Standing:
    """Votes on one endpoint. `share` counts a tie as half a win and leaves out "both are bad"."""

    endpoint: str
    wins: int = 0
    losses: int = 0
    ties: int = 0
    both_bad: int = 0

    @property
    def share(self) -> Interval | None:
        counted = self.wins + self.losses + self.ties
        return wilson_interval(self.wins + self.ties / 2, counted) if counted else None

    @property
    def votes(self) -> int:
        return self.wins + self.losses + self.ties + self.both_bad


def vote_counts(user: User) -> dict[str, int]:
    """Votes on the battles that a person sees: their own, and everybody's."""
    votes = Vote.objects.filter(battle__in=Battle.objects.visible_to(user))
    counted: dict[str, int] = votes.aggregate(all=Count("pk"), mine=Count("pk", filter=Q(user=user)))
    return counted


def standings(user: User) -> list[Standing]:
    """Best share first; endpoints are told apart by name."""
    battles = Battle.objects.visible_to(user).filter(vote__isnull=False)
    rows = battles.values(a=F("left__name"), b=F("right__name"), choice=F("vote__choice")).annotate(count=Count("pk"))
    found: dict[str, Standing] = {}
    for row in rows.order_by():
        for name, side in ((row["a"], _LEFT), (row["b"], _RIGHT)):
            _count(found.setdefault(name, Standing(name)), row["choice"], side, row["count"])
    return sorted(found.values(), key=lambda each: (-(each.share.value if each.share else 0.0), each.endpoint))


def _count(standing: Standing, choice: str, side: str, count: int) -> None:
    if choice == _TIE:
        standing.ties += count
    elif choice == _BAD:
        standing.both_bad += count
    elif choice == side:
        standing.wins += count
    else:
        standing.losses += count
