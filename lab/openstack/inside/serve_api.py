# mypy: disable-error-code="import-not-found"
"""Serves keystone, glance or neutron; the argument is its name.

Each needs a process of its own, as their settings are in one global object of oslo.config.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from lab.openstack import layout as layouts
from lab.openstack.inside import sqlite, wsgi

MODULES = {"keystone": "keystone.wsgi.api", "glance": "glance.wsgi.api", "neutron": "neutron.wsgi.api"}
THREADS = 12


def main(daemon: str) -> None:
    """Serve until SIGTERM."""
    wsgi.die_at_errors()
    layout = layouts.load(Path(os.environ["EHOSLITE_LAB_RECORD"]).parent)
    sys.argv = [daemon]  # the services parse it
    sqlite.install()
    application = importlib.import_module(MODULES[daemon]).application
    if daemon == "neutron":
        _complete_mappers()
    wsgi.serve_forever(application, layout.ports.back[daemon], THREADS)


def _complete_mappers() -> None:
    """Without this neutron answers GET /ports with 500 when it is the first request (Port.port_forwardings)."""
    import sqlalchemy.orm
    from neutron.db.models import port_forwarding  # noqa: F401 the mapper that is missing

    sqlalchemy.orm.configure_mappers()


if __name__ == "__main__":
    main(sys.argv[1])
