from django.urls import path

from apps.arena import views

urlpatterns = [
    path("arena", views.arena, name="arena"),
    path("arena/<str:battle_id>", views.battle, name="battle"),
    path("arena/<str:battle_id>/vote", views.battle_vote, name="battle_vote"),
]
