from django.apps import AppConfig


class TourConfig(AppConfig):
    name = "apps.tour"
    label = "tour"
    verbose_name = "Tour"
