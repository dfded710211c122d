from django.apps import AppConfig


class FinetunesConfig(AppConfig):
    name = "apps.finetunes"
    label = "finetunes"
    verbose_name = "Fine-tunes"

    def ready(self) -> None:
        from apps.catalog.placement import hosts_with_model, prepare_model, resolve_model
        from apps.finetunes.cheaper import cheaper_plans
        from apps.finetunes.links import fine_tune_url
        from apps.finetunes.repeats import promise_output, repeat_fine_tune
        from apps.finetunes.services import register_output
        from apps.finetunes.submitting import submit_step
        from apps.jobs.kinds import KindHandler, register_kind

        register_kind(
            "train",
            KindHandler(
                detail_url=fine_tune_url,
                on_finished=register_output,
                writes_catalogue=True,
                prepare=prepare_model,
                preferred_hosts=hosts_with_model,
                cheaper_plans=cheaper_plans,
                resolve=resolve_model,
                submit=submit_step,
                promise_version=promise_output,
                repeat=repeat_fine_tune,
            ),
        )
