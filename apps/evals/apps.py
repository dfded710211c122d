from django.apps import AppConfig


class EvalsConfig(AppConfig):
    name = "apps.evals"
    label = "evals"
    verbose_name = "Evaluations"

    def ready(self) -> None:
        from apps.catalog.placement import hosts_with_model, prepare_model, resolve_model
        from apps.evals.links import eval_run_url
        from apps.evals.registration import register_scores
        from apps.evals.services import repeat_eval_run
        from apps.evals.submitting import submit_step
        from apps.jobs.kinds import KindHandler, register_kind

        register_kind(
            "evaluate",
            KindHandler(
                detail_url=eval_run_url,
                on_finished=register_scores,
                prepare=prepare_model,
                preferred_hosts=hosts_with_model,
                resolve=resolve_model,
                submit=submit_step,
                repeat=repeat_eval_run,
            ),
        )
