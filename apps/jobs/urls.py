from django.urls import path

from apps.jobs import views

urlpatterns = [
    path("jobs", views.jobs, name="jobs"),
    path("jobs/<str:job_id>", views.job, name="job"),
    path("jobs/<str:job_id>/log", views.job_log, name="job_log"),
    path("jobs/<str:job_id>/log/stream", views.job_log_stream, name="job_log_stream"),
    path("jobs/<str:job_id>/metrics/stream", views.job_metrics_stream, name="job_metrics_stream"),
    path("jobs/<str:job_id>/cancel", views.job_cancel, name="job_cancel"),
    path("jobs/<str:job_id>/retry", views.job_retry, name="job_retry"),
]
