from django.urls import path

from apps.tour import views

urlpatterns = [
    path("tour", views.tour, name="tour"),
    path("tour/<str:tour_id>", views.tour_run, name="tour_run"),
]
