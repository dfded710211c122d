from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from apps.accounts.automation import prepare_automation
from apps.accounts.services import default_team
from apps.evals.shipped_suites import sync_suites
from apps.fleet.local_host import prepare_local_host, renew_broker_users


class Command(BaseCommand):
    help = "Makes what an installation needs: team, shipped suites, automation user, this host. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--without-host", action="store_true", help="this machine runs no engines")

    def handle(self, *args: Any, **options: Any) -> None:
        default_team()
        sync_suites()
        prepare_automation(home=settings.HOME)
        if not options["without_host"]:
            prepare_local_host(home=settings.HOME)
        renew_broker_users()
