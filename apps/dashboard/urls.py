from django.urls import path

from apps.dashboard import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
]
