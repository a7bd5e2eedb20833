"""What can be done with a cloud that is up."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from lab.jobs import wait_until
from lab.openstack import layout as layouts
from lab.openstack.daemons import Daemons
from lab.openstack.faults import Call, Calls, Faults
from lab.openstack.inside import knobs
from lab.openstack.layout import Layout
from lab.openstack.processes import find_family
from lab.openstack.rest import ApiError, Login, log_in

UNAUTHORIZED = 401
LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - as Nova writes its times, in UTC and without saying so


class RunningCloud:
    """A cloud that `OpenStackLab` started, in this process or, after `attach`, in another one.

    clouds_yaml has the entries NAME (by application credential), NAME-password, NAME-neighbour (another project on the
    same hosts) and NAME-admin. It is readable by its owner alone.
    """

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.clouds_yaml = self.directory / "clouds.yaml"
        self._layout: Layout | None = None
        self._daemons: Daemons | None = None
        self._admin: Login | None = None

    def attach(self) -> Self:
        """Take up the cloud in the directory. Raises FileNotFoundError if none was ever started there."""
        layout = layouts.load(self.directory)
        self._take_up(layout, Daemons(layout))
        return self

    def _take_up(self, layout: Layout, daemons: Daemons) -> None:
        self._layout, self._daemons, self._admin = layout, daemons, None
        self.name = layout.project
        self.faults = Faults(layout.ports.control, layout.secrets.control)
        self._calls = Calls(layout.requests)

    # --- what there is

    @property
    def layout(self) -> Layout:
        """The cloud's files and ports. Raises RuntimeError if the cloud is not up."""
        if self._layout is None:
            raise RuntimeError(f"no cloud is up in {self.directory}: call start() or attach() first")
        return self._layout

    @property
    def daemons(self) -> Daemons:
        """The cloud's processes. Raises RuntimeError if the cloud is not up."""
        if self._daemons is None:
            raise RuntimeError(f"no cloud is up in {self.directory}: call start() or attach() first")
        return self._daemons

    @property
    def auth_url(self) -> str:
        """Keystone's address for clients."""
        return self.layout.ports.url("keystone")

    @property
    def project_name(self) -> str:
        """The project of the entry NAME in clouds.yaml."""
        return self.layout.project

    def folder_of(self, server_id: str) -> Path:
        """Return the folder of a server's guest program; it is there from the server's boot to its deletion."""
        return self.layout.servers / server_id

    def find_processes(self, server_id: str) -> set[int]:
        """Return the pids of all processes of a server."""
        return {process.pid for process in find_family(self.folder_of(server_id))}

    # --- requests

    def calls(self, service: str | None = None, method: str | None = None, path: str = "") -> list[Call]:
        """Return the clients' requests since the start or `forget_calls`, by service, method and a regular expression.

        The path has {id} in the place of each id, and no query.
        """
        return self._calls.read(service, method, path)

    def forget_calls(self) -> None:
        """Have `calls` start with what comes from now on."""
        self._calls.forget()

    def call_as_admin(self, method: str, service: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Do a request at a daemon's own port, past the proxy, as the cloud's administrator. Raises ApiError."""
        ports, secrets = self.layout.ports, self.layout.secrets
        if self._admin is None:
            self._admin = log_in(ports.back_url("keystone"), "admin", secrets.admin, "admin")
        try:
            return self._admin.call(method, ports.back_url(service) + path, body)
        except ApiError as error:
            if error.status != UNAUTHORIZED:
                raise
        self._admin = None  # its token has expired
        return self.call_as_admin(method, service, path, body)

    # --- knobs

    def set_quota(self, project: str | None = None, /, **limits: int) -> None:
        """Set limits of a project (the cloud's own by default) in nova: instances, cores, ram (MiB), ..."""
        found = self.call_as_admin("GET", "keystone", f"/projects?name={project or self.project_name}")["projects"]
        # without `force` nova refuses a limit below what is used
        self.call_as_admin("PUT", "nova", f"/os-quota-sets/{found[0]['id']}", {"quota_set": limits | {"force": True}})

    def set_knobs(self, **values: Any) -> None:
        """Set how servers boot from now on; see inside/knobs.py: boot_delay, fail_build, fail_text, hang_build,
        never_join, by_name. Those not given stay."""
        with knobs.change(self.layout.knobs) as content:
            content.update(values)

    def clear_knobs(self) -> None:
        """Have servers boot as usual."""
        with knobs.change(self.layout.knobs) as content:
            content.clear()

    def stop_computes(self) -> None:
        """Cut the hosts off. Nova counts them as down 20 s later; until then servers stay BUILD."""
        self.daemons.signal("nova", signal.SIGUSR1)

    def start_computes(self) -> None:
        """Bring the hosts back, and wait until Nova has heard of all of them. Raises TimeoutError."""
        since = datetime.now(UTC).replace(tzinfo=None)
        self.daemons.signal("nova", signal.SIGUSR2)
        heard = ("up", True)
        wait_until(lambda: self.computes(since) == {heard}, 60, "the hosts to be back")

    def computes(self, since: datetime = LONG_AGO) -> set[tuple[str, bool]]:
        """What Nova says of its hosts: "up" or "down", and whether it has heard of them since then (UTC)."""
        found = self.call_as_admin("GET", "nova", "/os-services?binary=nova-compute")["services"]
        return {(one["state"], datetime.fromisoformat(one["updated_at"]) >= since) for one in found}

    def kill(self, daemon: str) -> None:
        """End a daemon by SIGKILL: keystone, nova (with placement), neutron, glance, cinder. Guests go on."""
        self.daemons.kill(daemon)

    def revive(self, daemon: str) -> None:
        """Start a daemon that was killed, and wait until it serves. Raises StartError."""
        self.daemons.start([daemon])
        self.daemons.wait_ready([daemon])

    def hang(self, daemon: str) -> None:
        """Have a daemon accept connections and do nothing (SIGSTOP)."""
        self.daemons.signal(daemon, signal.SIGSTOP)

    def resume(self, daemon: str) -> None:
        """Let a daemon that hangs go on."""
        self.daemons.signal(daemon, signal.SIGCONT)
