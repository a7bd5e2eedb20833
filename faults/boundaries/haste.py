"""Shortens the waits of the product that no option sets, so that what a kill has left is taken away in seconds."""

from __future__ import annotations

from ehoslite import nodes, policies
from ehoslite.clouds import local

# The product waits 180 s, three reports of a startd, before it takes ads without a server for a ghost's.
FRESH = 4.0
# And 10 s before it takes a folder without a process for a creation that died half-way.
STARTING = 5.0


def hasten() -> None:
    """Have this process's passes wait no longer than that."""
    for module in (nodes, policies):
        vars(module)["FRESH"] = FRESH
    vars(local)["STARTING"] = STARTING
