from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "apps.jobs"
    label = "jobs"
    verbose_name = "Jobs"

    def ready(self) -> None:
        from apps.jobs.environments import record_installed
        from apps.jobs.kinds import KindHandler, register_kind

        register_kind("install", KindHandler(on_finished=record_installed))
