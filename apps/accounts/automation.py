"""The user for automation and its API token in $STACKWEB_HOME/admin-token."""

from __future__ import annotations

from pathlib import Path

from django.db import transaction
from django.utils import timezone

from apps.accounts.models import ApiToken, User
from apps.accounts.private_files import write_private
from apps.accounts.services import create_api_token
from apps.accounts.tokens import digest_token

TOKEN_NAME = "admin-token"  # noqa: S105  a file name


@transaction.atomic
def prepare_automation(*, home: Path) -> None:
    """Makes the user and the token file where they are missing; a token that still works is kept."""
    user, is_new = User.objects.get_or_create(
        username=User.AUTOMATION, defaults={"display_name": "Automation", "is_superuser": True}
    )
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    path = home / TOKEN_NAME
    if path.exists():
        digest = digest_token(path.read_text().strip())
        if ApiToken.objects.alive().filter(user=user, digest=digest).exists():
            path.chmod(0o600)
            return
    # Whoever deleted the file meant the token to end.
    ApiToken.objects.alive().filter(user=user, name=TOKEN_NAME).update(revoked_at=timezone.now())
    _, token = create_api_token(user=user, name=TOKEN_NAME)
    write_private(path, token.plain + "\n")
