# mypy: disable-error-code="import-not-found"
"""Serves cinder's API, scheduler and volume service in one process, with native threads."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from lab.openstack import layout as layouts
from lab.openstack.inside import sqlite, wsgi

THREADS = 8
HOST = "controller"
BACKEND = "lab"


def main() -> None:
    """Serve until SIGTERM."""
    wsgi.die_at_errors()
    layout = layouts.load(Path(os.environ["EHOSLITE_LAB_RECORD"]).parent)
    sys.argv = ["cinder", "--config-file", str(layout.settings / "cinder" / "cinder.conf")]
    sqlite.install()
    from cinder.common import config  # noqa: F401 registers the options
    from cinder.wsgi.api import application

    services = [_start_volumes(), _start("cinder-scheduler")]
    wsgi.serve_forever(application, layout.ports.back["cinder"], THREADS)
    del services


def _start_volumes() -> Any:
    from cinder import utils
    from oslo_privsep import priv_context

    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    return _start("cinder-volume", host=f"{HOST}@{BACKEND}", service_name=BACKEND)


def _start(binary: str, **named: Any) -> Any:
    from cinder import service

    started = service.Service.create(binary=binary, **named)
    started.start()
    return started


if __name__ == "__main__":
    main()
