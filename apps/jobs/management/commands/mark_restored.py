from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.jobs.reconciling import begin_hold


class Command(BaseCommand):
    help = "Begins the hold after a restore: what hosts run that this database does not know runs on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("made_at", type=datetime.fromisoformat, help="when the backup was made, with its offset")

    def handle(self, *args: Any, **options: Any) -> None:
        begin_hold(made_at=options["made_at"])
