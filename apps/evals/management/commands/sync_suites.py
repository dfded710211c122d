from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.evals.shipped_suites import SuiteChanged, sync_suites


class Command(BaseCommand):
    help = "Registers the suites that come with this version of Stackweb. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            suites = sync_suites()
        except SuiteChanged as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Suites: {', '.join(map(str, suites))}")
