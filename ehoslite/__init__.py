"""Grows and shrinks an HTCondor pool with its queue, one idempotent pass at a time."""

__version__ = "0.1.0"
