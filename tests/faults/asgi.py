"""The product's web process at the rig's pace."""

from stackweb.asgi import application
from tests.faults.pace import hasten

hasten()
__all__ = ["application"]
