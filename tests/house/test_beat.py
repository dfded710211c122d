"""A beat entry whose task does not exist would fail silently, for ever."""

from stackweb.celery import app


def test_every_beat_entry_names_a_task() -> None:
    app.loader.import_default_modules()
    named = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert named
    assert named <= set(app.tasks), f"no such task: {named - set(app.tasks)}"
