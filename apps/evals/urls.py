from django.urls import path

from apps.evals import views

urlpatterns = [
    path("evaluations", views.eval_runs, name="eval_runs"),
    path("evaluations/new", views.eval_run_new, name="eval_run_new"),
    path("evaluations/preview", views.eval_run_preview, name="eval_run_preview"),
    path("evaluations/<str:run_id>", views.eval_run, name="eval_run"),
    path("evaluations/<str:run_id>/samples/<int:sample_id>", views.eval_sample, name="eval_sample"),
]
