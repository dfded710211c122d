from django.urls import path

from apps.leaderboard import views

urlpatterns = [
    path("leaderboard", views.leaderboard, name="leaderboard"),
    path("leaderboard/compare", views.leaderboard_compare, name="leaderboard_compare"),
    path("leaderboard/reported", views.leaderboard_reported, name="leaderboard_reported"),
]
