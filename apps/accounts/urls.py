from django.urls import path

from apps.accounts import people_views, views

urlpatterns = [
    path("login", views.login, name="login"),
    path("logout", views.logout, name="logout"),
    path("claim/<str:token>", views.claim, name="claim"),
    path("settings", people_views.settings, name="settings"),
    path("settings/people", people_views.person_create, name="person_create"),
    path("settings/people/<int:user_id>", people_views.person_update, name="person_update"),
    path("settings/teams", people_views.team_create, name="team_create"),
]
