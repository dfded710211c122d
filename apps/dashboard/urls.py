from django.urls import path

from apps.dashboard import compare_page, health, host_views, model_page, tokens_views, usage_page, views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("healthz", health.healthz, name="healthz"),
    path("search", views.search, name="search"),
    path("models", model_page.models, name="models"),
    path("models/compare", compare_page.compare, name="models_compare"),
    path("models/<str:model_id>", model_page.model, name="model"),
    path("hardware", views.hardware, name="hardware"),
    path("hardware/<str:host_name>", host_views.host, name="host"),
    path("hardware/<str:host_name>/cordon", host_views.host_cordon, name="host_cordon"),
    path("hardware/<str:host_name>/uncordon", host_views.host_uncordon, name="host_uncordon"),
    path("hardware/<str:host_name>/drain", host_views.host_drain, name="host_drain"),
    path("hardware/<str:host_name>/fence", host_views.host_fence, name="host_fence"),
    path("hardware/<str:host_name>/remove", host_views.host_remove, name="host_remove"),
    path("hardware/<str:host_name>/price", host_views.host_price, name="host_price"),
    path("hardware/<str:host_name>/devices/<int:index>/slots", host_views.device_slots, name="device_slots"),
    path("engines", views.engines, name="engines"),
    path("usage", usage_page.usage, name="usage"),
    path("usage.csv", usage_page.usage_csv, name="usage_csv"),
    path("settings/tokens", tokens_views.settings_tokens, name="settings_tokens"),
    path("settings/hub-token", tokens_views.hub_token_save, name="hub_token_save"),
    path("settings/hub-token/forget", tokens_views.hub_token_forget, name="hub_token_forget"),
    path("settings/tokens/new", tokens_views.token_create, name="token_create"),
    path("settings/tokens/<int:token_id>/revoke", tokens_views.token_revoke, name="token_revoke"),
    path("settings/keys", tokens_views.key_create, name="key_create"),
    path("settings/keys/<str:key_id>/revoke", tokens_views.key_revoke, name="key_revoke"),
    path("settings/join-tokens", tokens_views.join_token_create, name="join_token_create"),
]
