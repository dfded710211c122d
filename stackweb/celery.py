"""The web side's Celery: short, idempotent chores and the beat that repeats them. Never an engine."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stackweb.settings")

from django.conf import settings

app = Celery("stackweb", broker=settings.REDIS_URL)
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_default_queue="control",
    task_soft_time_limit=None,  # the threads pool has no time limits; every chore is bounded itself
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    timezone="UTC",
    beat_schedule={
        "place waiting jobs": {"task": "jobs.place", "schedule": 2.0},
        "look for lost attempts": {"task": "jobs.reap", "schedule": 5.0},
        "forget torn uploads": {"task": "jobs.forget_torn_parts", "schedule": 3600.0},
        "run due schedules": {"task": "jobs.run_schedules", "schedule": 20.0},
        "look for silent hosts": {"task": "fleet.review_silence", "schedule": 5.0},
        "meter gateway usage": {"task": "gateway.flush_usage", "schedule": 2.0},
        "measure decode speeds": {"task": "gateway.note_decode_speeds", "schedule": 300.0},
        "advance tours": {"task": "tour.advance", "schedule": 2.0},
        "judge which models run here": {"task": "catalog.judge_versions", "schedule": 5.0},
        "accrue costs": {"task": "costs.accrue", "schedule": 60.0},
        "roll up telemetry": {"task": "fleet.roll_up_telemetry", "schedule": 60.0},
        "forget old telemetry": {"task": "fleet.forget_telemetry", "schedule": 600.0},
    },
)
app.autodiscover_tasks()
