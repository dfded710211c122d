"""People, roles and tokens: every change to who may do what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify

from apps.accounts.access import require_role, require_server_admin
from apps.accounts.audit import audit
from apps.accounts.models import ApiToken, ClaimToken, Membership, Role, Team, User
from apps.accounts.problems import Problem, conflict, forbidden, invalid, not_found, unknown_choice
from apps.accounts.tokens import API_TOKEN, CLAIM_TOKEN, NewToken, digest_token, new_token

CLAIM_LIFE = timedelta(hours=24)
DEFAULT_TEAM = "default"


def default_team() -> Team:
    """The team that everybody joins at first; made with the installation."""
    return Team.objects.order_by("pk").first() or Team.objects.create(name="Default", slug=DEFAULT_TEAM)


def lock_team(team: Team) -> None:
    """Until the transaction ends: nobody else takes a name in the team, or writes its catalogue."""
    Team.objects.select_for_update(no_key=True).get(pk=team.pk)


@transaction.atomic
def create_team(*, actor: User, name: str) -> Team:
    """Raises Problem 422 for a name that is empty, too long or taken."""
    require_server_admin(actor)
    name = " ".join(name.split())
    slug = slugify(name)
    if not slug or len(name) > 80:
        raise invalid("name", "A team name has 1 to 80 characters, with a letter or digit.", value=name[:100])
    taken = invalid("name", f"There is a team “{name}” already. Choose another name.", value=name)
    if Team.objects.filter(Q(slug=slug) | Q(name__iexact=name)).exists():
        raise taken
    try:
        with transaction.atomic():
            team = Team.objects.create(name=name, slug=slug)
    except IntegrityError:  # another one at the same moment
        raise taken from None
    audit(actor, "team.created", object_id=slug, object_name=name, team=team)
    return team


@transaction.atomic
def create_user(*, actor: User, username: str, display_name: str = "", team: Team, role: Role) -> User:
    """A person without a password; a claim link lets them set one. Raises Problem 422."""
    require_role(actor, Role.ADMIN, team)
    user = User(username=_checked_username(username), display_name=display_name.strip()[:120])
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError:  # another one at the same moment
        raise _taken_username(user.username) from None
    Membership.objects.create(user=user, team=team, role=role)
    _audit_person(actor, "user.created", user, team=team, role=role)
    return user


@transaction.atomic
def set_role(*, actor: User, user: User, team: Team, role: Role | None) -> None:
    """Gives the person that role in the team; None takes them out of it."""
    require_role(actor, Role.ADMIN, team)
    _check_is_person(user)
    if role is None:
        Membership.objects.filter(user=user, team=team).delete()
    else:
        Membership.objects.update_or_create(user=user, team=team, defaults={"role": role})
    _audit_person(actor, "user.role_set", user, team=team, role=role)


@transaction.atomic
def set_admin(*, actor: User, user: User, is_admin: bool) -> None:
    """Makes the person an admin of the installation, or no longer one. The last admin stays."""
    require_server_admin(actor)
    _check_is_person(user)
    if not is_admin:
        _check_not_last_admin(user)
    user.is_superuser = is_admin
    user.save(update_fields=["is_superuser"])
    _audit_person(actor, "user.admin_set", user, is_admin=is_admin)


@transaction.atomic
def disable_user(*, actor: User, user: User) -> None:
    """Ends the person's access: no sign-in, no token, no open link. What they made stays."""
    require_server_admin(actor)
    _check_is_person(user)
    _check_not_last_admin(user)
    user.is_active = False
    user.save(update_fields=["is_active"])
    now = timezone.now()
    ApiToken.objects.alive().filter(user=user).update(revoked_at=now)
    ClaimToken.objects.filter(user=user, used_at=None).delete()
    _audit_person(actor, "user.disabled", user)


@transaction.atomic
def enable_user(*, actor: User, user: User) -> None:
    require_server_admin(actor)
    user.is_active = True
    user.save(update_fields=["is_active"])
    _audit_person(actor, "user.enabled", user)


@transaction.atomic
def create_claim(*, actor: User | None = None, user: User | None = None) -> str:
    """The token of a one-time link (24 h); replaces an earlier unused one. Without a user: first admin."""
    if user is not None:
        _check_is_person(user)
    ClaimToken.objects.filter(user=user, used_at=None).delete()
    token = new_token(CLAIM_TOKEN)
    ClaimToken.objects.create(user=user, digest=token.digest, expires_at=timezone.now() + CLAIM_LIFE)
    audit(actor, "claim.created", object_id=user.username if user else "first admin")
    return token.plain


def open_claim(plain: str) -> ClaimToken:
    """The claim behind a link that still works. Raises Problem 404 (unknown) or 410 (used, expired)."""
    claim = ClaimToken.objects.select_related("user").filter(digest=digest_token(plain)).first()
    if claim is None:
        raise Problem(404, "Unknown link", "This link is not known here, or a newer one replaced it.")
    if claim.used_at is not None:
        raise Problem(410, "Link used", "This link works once and was used. Sign in instead.")
    if claim.expires_at < timezone.now():
        raise Problem(410, "Link expired", "This link worked for 24 hours. Ask an admin for a new one.")
    if claim.user is None and User.objects.admins().exists():
        raise Problem(410, "Link used", "This installation has an admin already. Sign in instead.")
    return claim


@transaction.atomic
def use_claim(*, plain: str, username: str, display_name: str, password: str) -> User:
    """Makes the first admin, or sets the invited person's password. Works once. Raises Problem."""
    found = open_claim(plain)
    # The person before the link, as whoever disables one has it; and so that no right changes meanwhile.
    invited = found.user and User.objects.select_for_update(no_key=True).get(pk=found.user.pk)
    claim = ClaimToken.objects.select_for_update().filter(pk=found.pk).first()
    if claim is None or claim.used_at is not None:
        raise Problem(410, "Link used", "This link works once and was used. Sign in instead.")
    user = invited or User(username=_checked_username(username), is_superuser=True)
    user.display_name = display_name.strip()[:120] or user.display_name
    _set_password(user, password)
    user.save()
    if invited is None:
        Membership.objects.create(user=user, team=default_team(), role=Role.ADMIN)
    claim.used_at = timezone.now()
    claim.save(update_fields=["used_at"])
    _audit_person(user, "claim.used", user)
    return user


@transaction.atomic
def create_api_token(
    *, user: User, name: str, scope: str = ApiToken.Scope.WRITE, expires_at: datetime | None = None
) -> tuple[ApiToken, NewToken]:
    """A token with the person's own rights; its text is in the answer only. Raises Problem 422."""
    name = name.strip()
    if not 1 <= len(name) <= 80:
        raise invalid("name", "The name must have 1 to 80 characters.", value=name[:100])
    if scope not in ApiToken.Scope.values:
        raise unknown_choice("scope", scope, ApiToken.Scope.values, noun="scope")
    if expires_at is not None and expires_at <= timezone.now():
        raise invalid("expires_at", "The end must lie in the future.", value=expires_at.isoformat())
    token = new_token(API_TOKEN)
    row = ApiToken.objects.create(
        user=user, name=name, scope=scope, hint=token.hint, digest=token.digest, expires_at=expires_at
    )
    audit(user, "api_token.created", object_id=str(row.pk), object_name=name, detail={"scope": scope})
    return row, token


@transaction.atomic
def revoke_api_token(*, actor: User, token_id: int) -> None:
    """Ends a token of the person's own; an admin may end anyone's. Raises Problem 404."""
    tokens = ApiToken.objects.seen_by(actor).filter(revoked_at=None)
    row = tokens.filter(pk=token_id).first()
    if row is None:
        raise not_found("API token", str(token_id))
    row.revoked_at = timezone.now()
    row.save(update_fields=["revoked_at"])
    audit(actor, "api_token.revoked", object_id=str(row.pk), object_name=row.name)


def _audit_person(actor: User, action: str, user: User, *, team: Team | None = None, **detail: Any) -> None:
    audit(actor, action, object_id=user.username, object_name=str(user), team=team, detail=detail)


def _checked_username(username: str) -> str:
    username = username.strip()
    try:
        User._meta.get_field("username").run_validators(username)
    except ValidationError:
        rule = "A user name has 1 to 150 letters, digits and @ . + - _, for example “alice”."
        raise invalid("username", rule, value=username[:160]) from None
    if User.objects.filter(username__iexact=username).exists():
        raise _taken_username(username)
    return username


def _taken_username(username: str) -> Problem:
    return invalid("username", f"The user name “{username}” is taken. Choose another.", value=username)


def _set_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise invalid("password", " ".join(error.messages)) from None
    user.set_password(password)


def _check_is_person(user: User) -> None:
    if user.is_automation:
        raise forbidden("“automation” belongs to the installation; its token is in the home folder.")


def _check_not_last_admin(user: User) -> None:
    admins = User.objects.admins().select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True)
    if list(admins) == [user.pk]:
        raise conflict(f"{user} is the only admin. Make somebody else an admin first.")
