from django.urls import path

from apps.finetunes import views

urlpatterns = [
    path("fine-tunes", views.fine_tunes, name="fine_tunes"),
    path("fine-tunes/new", views.fine_tune_new, name="fine_tune_new"),
    path("fine-tunes/preview", views.fine_tune_preview, name="fine_tune_preview"),
    path("fine-tunes/<str:fine_tune_id>", views.fine_tune, name="fine_tune"),
    path("datasets", views.datasets, name="datasets"),
    path("datasets/new", views.dataset_new, name="dataset_new"),
    path("datasets/<str:dataset_id>", views.dataset, name="dataset"),
]
