from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "apps.catalog"
    label = "catalog"
    verbose_name = "Catalogue"

    def ready(self) -> None:
        from apps.catalog.deletions import check_can_run_again
        from apps.catalog.hub_repository import ask_through_egress
        from apps.catalog.peers import download_secrets, resolve_download
        from apps.catalog.registration import register_download
        from apps.jobs.kinds import KindHandler, register_kind

        ask_through_egress()
        handler = KindHandler(
            on_finished=register_download,
            writes_catalogue=True,
            on_retried=check_can_run_again,
            resolve=resolve_download,
            secrets=download_secrets,
            repeats=False,
        )
        register_kind("download", handler)
