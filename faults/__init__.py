"""Breaks ehoslite on purpose and counts what comes of it: `python -m faults`."""
