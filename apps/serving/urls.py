from django.urls import URLPattern, path

from apps.serving import views

urlpatterns: list[URLPattern] = [
    path("endpoints/new", views.endpoint_new, name="endpoint_new"),
    path("endpoints/preview", views.endpoint_preview, name="endpoint_preview"),
    path("endpoints/<str:endpoint_id>/stop", views.endpoint_stop, name="endpoint_stop"),
    path("endpoints/<str:endpoint_id>/start", views.endpoint_start, name="endpoint_start"),
]
