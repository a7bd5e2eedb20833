# mypy: disable-error-code="import-not-found"
"""Serves nova's API, conductor, scheduler and computes, and placement's API, all in one process.

That needs nova's native threads. SIGUSR1 takes the computes off, as if their hosts were cut from the network: they
answer no calls and send no heartbeats, and the guests go on. SIGUSR2 brings them back.
"""

from __future__ import annotations

from nova import monkey_patch

monkey_patch.patch(backend="threading")  # before anything else of nova is imported

import os  # noqa: E402
import shlex  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from lab.openstack import layout as layouts  # noqa: E402
from lab.openstack.inside import sqlite, wsgi  # noqa: E402

PLACEMENT_THREADS = 8
NOVA_THREADS = 16


class Computes:
    """The compute services, on and off."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._hosts = hosts
        self._services: dict[str, Any] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start those that are off."""
        from nova.compute import rpcapi

        with self._lock:
            for host in self._hosts:
                if host not in self._services:
                    self._services[host] = start_service(
                        host, "nova-compute", rpcapi.RPC_TOPIC, topic_alt=rpcapi.RPC_TOPIC_ALT
                    )

    def stop(self) -> None:
        """Stop them all; not by Service.stop(), which would end the thread pools that the other services use too."""
        with self._lock:
            for service in self._services.values():
                service.rpcserver.stop()
                service.rpcserver_alt.stop()
                service.tg.stop()
            self._services.clear()


def start_service(host: str, binary: str, topic: str, **named: Any) -> Any:
    """Start one of nova's services in this process."""
    from nova import service

    started = service.Service.create(host=host, binary=binary, topic=topic, **named)
    started.start()
    # with a heartbeat at once: on a restored database hosts count as down until their first one
    started.service_ref.report_count += 1
    started.service_ref.save()
    return started


def main() -> None:
    """Serve until SIGTERM."""
    wsgi.die_at_errors()
    layout = layouts.load(Path(os.environ["EHOSLITE_LAB_RECORD"]).parent)
    sys.argv = sys.argv[:1]
    sqlite.install()
    # placement first: it has a configuration object of its own
    from placement.wsgi import init_application

    wsgi.serve_in_thread(init_application(), layout.ports.back["placement"], PLACEMENT_THREADS)
    from nova.api.openstack import wsgi_app

    application = wsgi_app.init_application("osapi_compute", "nova-api-os-compute")
    computes = _start_services(layout.computes)
    signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=computes.stop).start())
    signal.signal(signal.SIGUSR2, lambda *_: threading.Thread(target=computes.start).start())
    wsgi.serve_forever(application, layout.ports.back["nova"], NOVA_THREADS)


def _start_services(hosts: tuple[str, ...]) -> Computes:
    import os_vif
    from nova import context, objects, utils
    from nova.conductor import rpcapi as conductor
    from nova.objects import host_mapping
    from nova.scheduler import rpcapi as scheduler
    from oslo_privsep import priv_context

    from lab.openstack.inside import driver

    sys.modules["nova.virt.ehoslite"] = driver  # nova loads only drivers named nova.virt.*
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_vif.initialize()
    objects.Service.enable_min_version_cache()
    start_service("controller", "nova-conductor", conductor.RPC_TOPIC)
    start_service("controller", "nova-scheduler", scheduler.RPC_TOPIC)
    computes = Computes(hosts)
    computes.start()
    # the periodic task would map new hosts into the cell only minutes later
    host_mapping.discover_hosts(context.get_admin_context())
    return computes


if __name__ == "__main__":
    main()
