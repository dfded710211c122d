from django.urls import path

from apps.dashboard import health, tokens_views, views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("healthz", health.healthz, name="healthz"),
    path("search", views.search, name="search"),
    path("hardware", views.hardware, name="hardware"),
    path("settings/tokens", tokens_views.settings_tokens, name="settings_tokens"),
    path("settings/tokens/new", tokens_views.token_create, name="token_create"),
    path("settings/tokens/<int:token_id>/revoke", tokens_views.token_revoke, name="token_revoke"),
    path("settings/join-tokens", tokens_views.join_token_create, name="join_token_create"),
]
