from django.urls import path

from apps.catalog import policy_views, views

urlpatterns = [
    path("models/import", views.model_import, name="model_import"),
    path("models/versions/<str:version_id>/copies", views.copies_bring, name="copies_bring"),
    path("settings/policy", policy_views.settings_policy, name="settings_policy"),
    path("settings/teams/<str:team_slug>/policy", policy_views.policy_set, name="policy_set"),
]
