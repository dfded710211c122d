"""The product's control worker at the rig's pace: `celery -A tests.faults.control worker`."""

from celery.signals import worker_init

from stackweb.celery import app

__all__ = ["app"]


@worker_init.connect  # type: ignore[untyped-decorator]
def hasten(**_: object) -> None:
    from tests.faults.pace import hasten as hasten_all  # models are ready only now

    hasten_all()
