from django.urls import path

from apps.calibration import views

urlpatterns = [
    path("calibration", views.calibration, name="calibration"),
    path("calibration.csv", views.calibration_csv, name="calibration_csv"),
]
