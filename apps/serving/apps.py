from django.apps import AppConfig


class ServingConfig(AppConfig):
    name = "apps.serving"
    label = "serving"
    verbose_name = "Serving"

    def ready(self) -> None:
        from apps.catalog.placement import hosts_with_model, prepare_model, resolve_model
        from apps.jobs.kinds import KindHandler, register_kind
        from apps.serving.cheaper import cheaper_plans
        from apps.serving.links import endpoint_url, replica_ended, replica_retried
        from apps.serving.submitting import submit_step

        register_kind(
            "serve",
            KindHandler(
                detail_url=endpoint_url,
                on_finished=replica_ended,
                on_retried=replica_retried,
                prepare=prepare_model,
                preferred_hosts=hosts_with_model,
                cheaper_plans=cheaper_plans,
                resolve=resolve_model,
                submit=submit_step,
                repeats=False,
            ),
        )
