"""Every address of Stackweb; the pages of each room stand in its own urls.py."""

from django.urls import include, path

from stackweb.api import api, worker_api
from stackweb.api_docs import api_docs

urlpatterns = [
    path("", include("apps.accounts.urls")),
    path("", include("apps.jobs.urls")),
    path("", include("apps.costs.urls")),
    path("", include("apps.calibration.urls")),
    path("", include("apps.catalog.urls")),
    path("", include("apps.serving.urls")),
    path("", include("apps.finetunes.urls")),
    path("", include("apps.evals.urls")),
    path("", include("apps.gateway.urls")),
    path("", include("apps.arena.urls")),
    path("", include("apps.leaderboard.urls")),
    path("", include("apps.dashboard.urls")),
    path("", include("apps.tour.urls")),
    path("api/docs", api_docs, name="api_docs"),
    path("api/v1/", api.urls),
    path("api/worker/v1/", worker_api.urls),
]

handler400 = "stackweb.errors.bad_request"
handler404 = "stackweb.errors.not_found"
handler500 = "stackweb.errors.server_error"
