from django.urls import path

from apps.jobs import quota_views, schedule_views, views

urlpatterns = [
    path("jobs/bulk", views.jobs_bulk, name="jobs_bulk"),
    path("jobs/<str:job_id>", views.job, name="job"),
    path("jobs/<str:job_id>/log", views.job_log, name="job_log"),
    path("jobs/<str:job_id>/files/<int:output_id>", views.job_output, name="job_output"),
    path("jobs/<str:job_id>/log/stream", views.job_log_stream, name="job_log_stream"),
    path("jobs/<str:job_id>/metrics/stream", views.job_metrics_stream, name="job_metrics_stream"),
    path("jobs/<str:job_id>/cancel", views.job_cancel, name="job_cancel"),
    path("jobs/<str:job_id>/retry", views.job_retry, name="job_retry"),
    path("jobs/<str:job_id>/repeat", schedule_views.job_repeat, name="job_repeat"),
    path("settings/teams/<str:team_slug>/quota", quota_views.quota_set, name="quota_set"),
    path("schedules", schedule_views.schedules, name="job_schedules"),
    path("schedules/<str:schedule_id>/enable", schedule_views.schedule_enable, name="schedule_enable"),
    path("schedules/<str:schedule_id>/disable", schedule_views.schedule_disable, name="schedule_disable"),
    path("schedules/<str:schedule_id>/delete", schedule_views.schedule_delete, name="schedule_delete"),
    path("schedules/<str:schedule_id>/run", schedule_views.schedule_run, name="schedule_run"),
]
