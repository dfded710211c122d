"""`stackweb up`: starts everything on one machine, keeps it running, stops all of it.

Nothing here imports Django: Stackweb's own parts run as child processes.
"""
