# mypy: disable-error-code="import-not-found"
"""Serves cinder's API, scheduler and volume service in one process.

That needs cinder's native threads: without them its heartbeats are never sent, and its services count as down.
"""

from __future__ import annotations

from cinder import monkey_patch

monkey_patch.patch(backend="threading")  # before anything else of cinder is imported

import os  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from lab.openstack import layout as layouts  # noqa: E402
from lab.openstack.inside import sqlite, wsgi  # noqa: E402

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

    _start("cinder-scheduler")
    _start_volumes()
    wsgi.serve_forever(application, layout.ports.back["cinder"], THREADS)


def _start_volumes() -> None:
    from cinder import utils
    from oslo_privsep import priv_context

    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    _start("cinder-volume", host=f"{HOST}@{BACKEND}", service_name=BACKEND)


def _start(binary: str, **named: Any) -> None:
    from cinder import service

    service.Service.create(binary=binary, **named).start()


if __name__ == "__main__":
    main()
