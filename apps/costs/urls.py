from django.urls import path

from apps.costs import views

urlpatterns = [
    path("jobs", views.jobs, name="jobs"),
    path("jobs/<str:job_id>/cost", views.job_cost, name="job_cost"),
]
