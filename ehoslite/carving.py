"""How a startd cuts jobs out of a partitionable slot: in larger pieces than they ask for, while those fit. Pure."""

from __future__ import annotations

from math import ceil

from ehoslite.resources import UNLIMITED, Resources

# The startd's defaults (MODIFY_REQUEST_EXPR_REQUESTMEMORY is quantize(RequestMemory,{128}), of disk it is {1024}, of
# cpus {1}; condor_config_val, HTCondor 23.9.6).
MEMORY_STEP, DISK_STEP = 128, 1024


def rounded_up(request: Resources) -> Resources:
    """What a startd takes for this request."""
    memory, disk = ceil(request.memory / MEMORY_STEP) * MEMORY_STEP, ceil(request.disk / DISK_STEP) * DISK_STEP
    return Resources(ceil(request.cpus), memory, disk, request.gpus)


def side_by_side(room: Resources, request: Resources) -> int:
    """How many such jobs run at a time in this room. Where the larger piece does not fit any more, a startd cuts what
    the job asks for ("retrying w/o edits", Resource.cpp)."""
    if not room.fits(request):
        return 0
    piece = rounded_up(request)
    pieces = room.holds(piece)
    return UNLIMITED if pieces >= UNLIMITED else pieces + (room - piece * pieces).holds(request)


def left_beside(room: Resources, request: Resources, jobs: int) -> Resources:
    """What is left of this room beside so many such jobs."""
    piece = rounded_up(request)
    pieces = min(jobs, room.holds(piece))
    return room - piece * pieces - request * (jobs - pieces)
