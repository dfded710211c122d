"""What the charts of metered requests say: rates, gaps, the busiest routes."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from apps.gateway.charts import endpoint_charts, output_chart
from apps.gateway.models import UsageRecord

pytestmark = pytest.mark.django_db


def request(at: datetime, *, endpoint: int = 1, route: str = "chat", tokens: int = 60, ttft_ms: float = 100) -> None:
    UsageRecord.objects.create(
        uuid=uuid.uuid4(), team_id=1, route=route, endpoint_id=endpoint, status=200, prompt_tokens=240,
        completion_tokens=tokens, ttft_ms=ttft_ms, duration_ms=900, at=at,
    )  # fmt: skip


def test_a_quiet_step_is_no_tokens_but_a_gap_in_the_waits() -> None:
    assert endpoint_charts(1) is None
    request(timezone.now() - timedelta(minutes=30))
    request(timezone.now() - timedelta(minutes=30), endpoint=2, tokens=9000)
    charts = endpoint_charts(1)
    assert charts is not None
    output, prompt = charts["throughput"]["series"]
    assert len(output["steps"]) == 30
    assert set(output["values"]) == {0.0, 0.5}  # 60 tokens in 120 s
    assert max(prompt["values"]) == 2.0
    median, _ = charts["ttft"]["series"]
    assert sorted(median["values"], key=lambda value: value is None)[:2] == [100.0, None]


def test_the_busiest_routes_have_lines_and_the_rest_share_one() -> None:
    for number in range(1, 8):
        request(timezone.now() - timedelta(hours=2), route=f"r{number}", tokens=600 * number)
    chart = output_chart(UsageRecord.objects.all())
    assert chart is not None
    peaks = {line["name"]: max(line["values"]) for line in chart["series"]}
    assert peaks == {"r7": 7.0, "r6": 6.0, "r5": 5.0, "r4": 4.0, "others": 6.0}
