"""A real OpenStack on this machine: Keystone, Nova, Placement, Neutron, Glance and, if asked for, Cinder."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.openstack import golden, install
from lab.openstack import layout as layouts
from lab.openstack.cloud import RunningCloud
from lab.openstack.daemons import Daemons
from lab.openstack.layout import REGION, Layout, Ports, write_private
from lab.openstack.rest import Login, log_in
from lab.openstack.settings import write_settings

QUOTAS = {"instances": 100, "cores": 400, "ram": 1_000_000}
NEIGHBOUR_QUOTAS = {"instances": 5000, "cores": 50_000, "ram": 50_000_000}
NOVA_ON = ("keystone", "glance", "neutron", "nova")


class OpenStackLab(RunningCloud):
    """One cloud, in a directory of its own; several can be up side by side.

    directory: everything of the cloud; an earlier cloud there is ended and replaced at the start.
    name: of the cloud's entry in clouds.yaml, and of the project and its user.
    quotas: of the project in nova: instances, cores, ram (MiB), ...; QUOTAS for those not given.
    guest_command: the program that stands for a server's machine, with its first arguments. It is started in a session
        of its own with the server's folder as last argument and as EHOSLITE_NODE_DIR. The folder has `user_data`,
        `meta_data.json` and `network_data.json` as a config drive has them, and `hardware.json` with name, id, flavor,
        cpus, memory_mb, disk_gb, gpus and volumes_gb (a list). What it prints is the server's console. When it exits,
        the server is SHUTOFF. Empty: servers without a process.
    computes: the hosts' names; host_cpus, host_memory_mb, host_gpus: what each has.
    volumes: whether there is Cinder.
    keep: whether the cloud outlives this process.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "alpha",
        quotas: Mapping[str, int] | None = None,
        guest_command: Sequence[str] = (),
        computes: Sequence[str] = ("compute-1", "compute-2"),
        host_cpus: int = 1000,
        host_memory_mb: int = 8_000_000,
        host_gpus: int = 16,
        volumes: bool = False,
        keep: bool = False,
    ) -> None:
        super().__init__(directory)
        self.name = name
        self._quotas = QUOTAS | dict(quotas or {})
        self._guest_command = tuple(guest_command)
        self._computes = tuple(computes)
        self._host = {"host_cpus": host_cpus, "host_memory_mb": host_memory_mb, "host_gpus": host_gpus}
        self._names = (*NOVA_ON, "cinder") if volumes else NOVA_ON
        self._keep = keep

    # --- up and down

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Self:
        """Bring the cloud up: about 10 s, and 100 s more where OpenStack is not installed yet.

        Raises RuntimeError if the installation fails, StartError if a daemon does not come up.
        """
        stop_directory(self.directory)
        cache = install.find_cache()
        environment = install.install(cache)
        base = golden.find_golden(environment, cache)
        layout = Layout(
            self.directory,
            environment,
            Ports.pick(),
            golden.make_secrets(),
            project=self.name,
            neighbour=f"{self.name}-neighbour",
            computes=self._computes,
            guest_command=self._guest_command,
            **self._host,
        )
        _clear(layout)
        layout.save()
        write_settings(layout)
        golden.restore(base, layout, "cinder" in self._names)
        daemons = Daemons(layout)
        self._take_up(layout, daemons)
        try:
            self._bring_up(layout, daemons)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all processes of the cloud, the servers' too; the files stay. Harmless when nothing runs."""
        if self._daemons is not None:
            self._daemons.end_all()
        else:
            stop_directory(self.directory)
        self._layout = self._daemons = self._admin = None

    def _bring_up(self, layout: Layout, daemons: Daemons) -> None:
        daemons.start(self._names)
        daemons.start_front(self._keep)
        daemons.wait_ready(["front", "keystone"])
        self._write_clouds()
        daemons.wait_ready(self._names)
        self.set_quota(**self._quotas)
        self.set_quota(layout.neighbour, **NEIGHBOUR_QUOTAS)

    def _write_clouds(self) -> None:
        secrets = self.layout.secrets
        logins = {
            f"{self.name}-password": (self.name, secrets.tenant, self.name),
            f"{self.name}-neighbour": (self.layout.neighbour, secrets.neighbour, self.layout.neighbour),
            f"{self.name}-admin": ("admin", secrets.admin, "admin"),
        }
        clouds: dict[str, object] = {name: self._make_password_entry(*login) for name, login in logins.items()}
        tenant = log_in(self.layout.ports.back_url("keystone"), self.name, secrets.tenant, self.name)
        clouds[self.name] = self._make_credential_entry(tenant)
        # JSON is YAML: no package is needed to write it
        write_private(self.clouds_yaml, json.dumps({"clouds": clouds}, indent=1))

    def _make_password_entry(self, user: str, password: str, project: str) -> dict[str, object]:
        auth = {"auth_url": self.auth_url, "username": user, "password": password, "project_name": project}
        auth |= {"user_domain_id": "default", "project_domain_id": "default"}
        return {"region_name": REGION, "auth": auth}

    def _make_credential_entry(self, login: Login) -> dict[str, object]:
        url = f"{self.layout.ports.back_url('keystone')}/users/{login.user_id}/application_credentials"
        made = login.call("POST", url, {"application_credential": {"name": "ehoslite"}})["application_credential"]
        auth = {"auth_url": self.auth_url, "application_credential_id": made["id"]}
        auth["application_credential_secret"] = made["secret"]
        return {"auth_type": "v3applicationcredential", "region_name": REGION, "auth": auth}


def stop_directory(directory: Path) -> None:
    """End all processes of the cloud in a directory, whoever started them. Harmless when there is none."""
    with contextlib.suppress(FileNotFoundError):
        Daemons(layouts.load(directory.absolute())).end_all()


def _clear(layout: Layout) -> None:
    """Make the directory's folders anew, without the files of an earlier cloud there."""
    for folder in (layout.settings, layout.databases, layout.state, layout.log, layout.servers):
        shutil.rmtree(folder, ignore_errors=True)
    for path in (layout.knobs, layout.requests):
        path.unlink(missing_ok=True)
    layout.make_folders()
