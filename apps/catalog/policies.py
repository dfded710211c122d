"""What a team lets itself use: licences and formats of models. Asked at import, deploy, training and evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from django.db import transaction

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Membership, Role, Team, User
from apps.accounts.problems import FieldError, Problem, invalid, unknown_choice
from apps.catalog.licenses import TITLES, LicenseClass, license_class
from apps.catalog.models import ModelVersion, TeamPolicy

FORMATS = ("safetensors", "gguf")
MOST_LICENSES = 50
_LICENSE = re.compile(r"[a-z0-9][a-z0-9._ +-]{0,79}")


def policy_of(team: Team) -> TeamPolicy:
    """The team's own, or one that allows everything; that one is not stored."""
    return TeamPolicy.objects.filter(team=team).first() or TeamPolicy(team=team)


@transaction.atomic
def set_policy(
    *, team: Team, user: User, license_classes: Sequence[str], licenses: Sequence[str], formats: Sequence[str]
) -> TeamPolicy:
    """Empty classes and licences together allow every licence. Raises Problem 403 below team admin, 422 naming the
    field."""
    require_role(user, Role.ADMIN, team)
    classes = _known("license_classes", license_classes, [each.value for each in LicenseClass], "class of licences")
    kinds = _known("formats", formats, FORMATS, "format")
    if "safetensors" not in kinds:
        raise invalid("formats", "safetensors is always allowed; leave it in.", value=list(formats))
    policy, _ = TeamPolicy.objects.update_or_create(
        team=team,
        defaults={"license_classes": classes, "licenses": _names(licenses), "allows_gguf": "gguf" in kinds},
    )
    audit(user, "team.policy_set", object_id=team.slug, object_name=team.name, team=team, detail=policy_facts(policy))
    return policy


def policy_facts(policy: TeamPolicy) -> dict[str, list[str]]:
    formats = [each for each in FORMATS if each != "gguf" or policy.allows_gguf]
    return {"license_classes": policy.license_classes, "licenses": policy.licenses, "formats": formats}


def broken_rule(policy: TeamPolicy, *, name: str, license: str | None, is_gguf: bool) -> str:
    """A sentence on the first rule that a model breaks, and who may change it; empty when it breaks none.

    A `license` of None is not known yet and breaks no rule; an empty one says that the model names none.
    """
    if is_gguf and not policy.allows_gguf:
        return f"{policy.team} takes safetensors only, and {name} is GGUF. {_who(policy.team)}"
    if license is None or not policy.limits_licenses or license.strip().lower() in policy.licenses:
        return ""
    found = license_class(license)
    if found in policy.license_classes:
        return ""
    title = TITLES[found][0].lower()
    named = f"is under {license}, a licence of the class “{title}”" if license else "names no licence"
    return f"{name} {named}. {policy.team} allows {_allowed(policy)}. {_who(policy.team)}"


def rule_against(version: ModelVersion, team: Team) -> str:
    """As `broken_rule`, for a version that is here."""
    model = version.model
    return broken_rule(policy_of(team), name=model.name, license=model.license, is_gguf=version.is_gguf)


def require_allowed(version: ModelVersion, team: Team, field: str = "version") -> None:
    """Raises Problem 403 naming the rule and who may change it."""
    if rule := rule_against(version, team):
        raise refusal(rule, field)


def refusal(rule: str, field: str) -> Problem:
    return Problem(403, "A team rule forbids it", rule, [FieldError(field, rule)])


def _allowed(policy: TeamPolicy) -> str:
    classes = [TITLES[LicenseClass(each)][0].lower() for each in policy.license_classes]
    words = [*(f"“{each}”" for each in classes), *policy.licenses]
    return f"only {', '.join(words)}"


def _who(team: Team) -> str:
    admins = Membership.objects.filter(team=team, role=Role.ADMIN, user__is_active=True).select_related("user")
    names = [str(each.user) for each in admins.order_by("pk")[:3]]
    return f"{' or '.join(names) or 'An admin of this server'} may change that under Settings, Model policy."


def _known(field: str, given: Iterable[str], known: Iterable[str], noun: str) -> list[str]:
    choices = list(known)
    for each in given:
        if each not in choices:
            raise unknown_choice(field, each, choices, noun=noun)
    return [each for each in choices if each in set(given)]


def _names(given: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(each.strip().lower() for each in given if each.strip()))
    if len(names) > MOST_LICENSES:
        raise invalid("licenses", f"At most {MOST_LICENSES} licences can be named, not {len(names)}.")
    for name in names:
        if not _LICENSE.fullmatch(name):
            raise invalid("licenses", f"“{name[:40]}” is no licence's name; write it as the Hub does: apache-2.0.")
    return names
