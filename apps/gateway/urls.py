from django.urls import URLPattern, path

from apps.gateway import views

urlpatterns: list[URLPattern] = [
    path("endpoints", views.endpoints, name="endpoints"),
    path("endpoints/<str:endpoint_id>", views.endpoint, name="endpoint"),
    path("endpoints/<str:endpoint_id>/chat", views.endpoint_chat, name="endpoint_chat"),
]
