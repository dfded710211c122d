from django.urls import path

from apps.catalog import views

urlpatterns = [
    path("models/import", views.model_import, name="model_import"),
]
