from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.accounts.models import User
from apps.accounts.services import create_claim


class Command(BaseCommand):
    help = "Prints the one-time link that makes the first admin; prints nothing once there is one."

    def handle(self, *args: Any, **options: Any) -> None:
        if not User.objects.admins().exists():
            self.stdout.write(f"{settings.STACKWEB_URL}/claim/{create_claim()}")
