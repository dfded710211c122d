"""What a team lets itself use: licences and formats of models, and code that comes with them.

Asked at import, deploy, training and evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Membership, Role, Team, User
from apps.accounts.problems import FieldError, Problem, invalid, unknown_choice
from apps.catalog.licenses import TITLES, LicenseClass, license_class
from apps.catalog.models import ModelVersion, TeamPolicy
from apps.engines.repository_files import formats_of

FORMATS = ("safetensors", "gguf", "pytorch")
MOST_LICENSES = 50
_LICENSE = re.compile(r"[a-z0-9][a-z0-9._ +-]{0,79}")


def policy_of(team: Team) -> TeamPolicy:
    """The team's own, or one that allows everything but remote code; that one is not stored."""
    return TeamPolicy.objects.filter(team=team).first() or TeamPolicy(team=team)


@transaction.atomic
def set_policy(
    *,
    team: Team,
    user: User,
    license_classes: Sequence[str],
    licenses: Sequence[str],
    formats: Sequence[str],
    remote_code: bool,
) -> TeamPolicy:
    """Empty classes and licences together allow every licence. Raises Problem 403 below team admin, 422 naming the
    field."""
    require_role(user, Role.ADMIN, team)
    classes = _known("license_classes", license_classes, [each.value for each in LicenseClass], "class of licences")
    kinds = _known("formats", formats, FORMATS, "format")
    if "safetensors" not in kinds:
        raise invalid("formats", "safetensors is always allowed; leave it in.", value=list(formats))
    before = policy_of(team).allows_remote_code
    policy, _ = TeamPolicy.objects.update_or_create(
        team=team,
        defaults={
            "license_classes": classes,
            "licenses": _names(licenses),
            "allows_gguf": "gguf" in kinds,
            "allows_pickle": "pytorch" in kinds,
            "allows_remote_code": remote_code,
        },
    )
    about: dict[str, Any] = {"object_id": team.slug, "object_name": team.name, "team": team}
    audit(user, "team.policy_set", detail=policy_facts(policy), **about)
    if remote_code != before:
        audit(user, f"team.remote_code_{'granted' if remote_code else 'revoked'}", **about)
    return policy


def policy_facts(policy: TeamPolicy) -> dict[str, Any]:
    allowed = {"safetensors": True, "gguf": policy.allows_gguf, "pytorch": policy.allows_pickle}
    return {
        "license_classes": policy.license_classes,
        "licenses": policy.licenses,
        "formats": [each for each in FORMATS if allowed[each]],
        "remote_code": policy.allows_remote_code,
    }


def broken_rule(
    policy: TeamPolicy,
    *,
    name: str,
    license: str | None,
    is_gguf: bool,
    needs_remote_code: bool = False,
    has_pickle: bool = False,
) -> str:
    """A sentence on the first rule that a model breaks, and who may change it; empty when it breaks none.

    A `license` of None is not known yet and breaks no rule; an empty one says that the model names none.
    """
    if is_gguf and not policy.allows_gguf:
        return f"{policy.team} takes safetensors only, and {name} is GGUF. {_who(policy.team)}"
    if has_pickle and not policy.allows_pickle:
        kinds = "safetensors and GGUF" if policy.allows_gguf else "safetensors"
        return f"{policy.team} takes {kinds} only, and {name} holds pickled PyTorch files. {_who(policy.team)}"
    if needs_remote_code and not policy.allows_remote_code:
        return f"{name} needs Python code of its repository, which {policy.team} does not allow. {_who(policy.team)}"
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
    policy, model = policy_of(team), version.model
    return broken_rule(
        policy,
        name=model.name,
        license=model.license,
        is_gguf=version.is_gguf,
        needs_remote_code=version.needs_remote_code,
        has_pickle=not policy.allows_pickle and bool(pickled_files(version)),
    )


def runs_code(version: ModelVersion, team: Team) -> bool:
    """Whether an engine is told to run the Python of the model's repository: it needs it, and the team granted it."""
    return version.needs_remote_code and policy_of(team).allows_remote_code


def code_rule(version: ModelVersion, team: Team) -> str:
    """Why its Python may not be run now, as `broken_rule` says it; empty where it may, or needs none."""
    if not version.needs_remote_code or policy_of(team).allows_remote_code:
        return ""
    return rule_against(version, team)


def pickled_files(version: ModelVersion) -> list[str]:
    """Paths of its PyTorch files, which can run code when a program loads them; no engine here is told to."""
    return [path for artifact in version.artifacts.all() for path in pickles_of(artifact.files)]


def pickles_of(files: Iterable[Mapping[str, Any]]) -> list[str]:
    """As `pickled_files`, of a manifest."""
    return [file["path"] for file in files if "pytorch" in formats_of({file["path"]: 1})]


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
