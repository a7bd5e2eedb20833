# mypy: disable-error-code="import-not-found, misc"
"""Nova's compute driver of the lab: a real process group for each server, on top of nova's fake driver."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from nova import exception
from nova.api.metadata import base as metadata
from nova.compute import power_state, task_states
from nova.image import glance
from nova.virt import event as events
from nova.virt import fake

from lab.openstack import layout as layouts
from lab.openstack.inside import knobs
from lab.openstack.inside.guests import Guests

LAYOUT = layouts.load(Path(os.environ["EHOSLITE_LAB_RECORD"]).parent)
NAMESPACE = uuid.UUID("2f9a0b0e-5f0c-4b53-9b43-6d1c7d9f5a10")  # of the hosts' ids; any fixed one does
POLL_SECONDS = 0.2
GPU_VENDOR, GPU_PRODUCT = "10de", "20b0"  # as [pci] in nova.conf has them


def name_node(host: str) -> str:
    """Return the id of a host's node: the same in each process, or nova refuses to start again on its database."""
    return str(uuid.uuid5(NAMESPACE, host))


class GuestDriver(fake.FakeDriver):
    """Boots servers by starting the cloud's guest program; see `OpenStackLab` for what it gets."""

    vcpus = LAYOUT.host_cpus
    memory_mb = LAYOUT.host_memory_mb
    _boots: dict[str, knobs.Boot] = {}  # noqa: RUF012 shared by all hosts: nova tries a failed build on the next one
    _boots_lock = threading.Lock()

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        self._guests = Guests(LAYOUT.servers, LAYOUT.guest_command, self._report_end)

    # --- hosts

    def get_nodenames_by_uuid(self, refresh: bool = False) -> dict[str, str]:  # noqa: ARG002 nova's signature
        return {name_node(node): node for node in self.get_available_nodes()}

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        resources: dict[str, Any] = super().get_available_resource(nodename)
        if resources:
            resources["uuid"] = name_node(nodename)
            resources["pci_passthrough_devices"] = json.dumps([_make_gpu(n) for n in range(LAYOUT.host_gpus)])
        return resources

    def update_provider_tree(self, provider_tree: Any, nodename: str, allocations: Any = None) -> None:
        super().update_provider_tree(provider_tree, nodename, allocations)
        if not LAYOUT.host_gpus:
            return
        inventory = dict(provider_tree.data(nodename).inventory)
        count = LAYOUT.host_gpus
        inventory["VGPU"] = {"total": count, "max_unit": count, "min_unit": 1, "step_size": 1}
        inventory["VGPU"] |= {"reserved": 0, "allocation_ratio": 1.0}
        provider_tree.update_inventory(nodename, inventory)

    # --- servers

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        **rest: Any,
    ) -> None:
        boot = self._take_boot(instance)
        self._wait(instance, boot.boot_delay, forever=boot.hang_build)
        if boot.fail_build:
            if boot.fail_text:
                raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=boot.fail_text)
            raise exception.InstanceDeployFailure(reason="the lab's knob fail_build")
        super().spawn(
            context,
            instance,
            image_meta,
            injected_files,
            admin_password,
            allocations,
            network_info,
            block_device_info,
            **rest,
        )
        self._guests.prepare(instance.uuid, _make_files(instance, network_info, block_device_info))
        if not boot.never_join:
            self._guests.boot(instance.uuid)

    def destroy(self, context: Any, instance: Any, *rest: Any, **named: Any) -> None:
        self._guests.remove(instance.uuid)
        super().destroy(context, instance, *rest, **named)

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        self._guests.halt(instance.uuid, timeout)
        self._know(instance)
        super().power_off(instance, timeout, retry_interval)

    def power_on(self, context: Any, instance: Any, *rest: Any, **named: Any) -> None:
        self._know(instance)
        super().power_on(context, instance, *rest, **named)
        self._guests.boot(instance.uuid)

    def reboot(self, context: Any, instance: Any, *rest: Any, **named: Any) -> None:
        self._guests.halt(instance.uuid, 0)
        self._know(instance)
        super().reboot(context, instance, *rest, **named)

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        self._know(instance)
        if self._guests.has_program(instance.uuid) and not self._guests.runs(instance.uuid):
            self.instances[instance.uuid].state = power_state.SHUTDOWN
        return super().get_info(instance, use_cache)

    def get_console_output(self, context: Any, instance: Any) -> bytes:  # noqa: ARG002 nova's signature
        return self._guests.read_console(instance.uuid)

    def snapshot(self, context: Any, instance: Any, image_id: str, update_task_state: Any) -> None:
        """Upload a few bytes: without an upload, as with the fake driver, an image stays queued for ever."""
        super().snapshot(context, instance, image_id, update_task_state)
        data = io.BytesIO(b"snapshot of " + instance.uuid.encode())
        glance.API().update(context, image_id, {"disk_format": "raw", "container_format": "bare"}, data)

    # --- how

    def _take_boot(self, instance: Any) -> knobs.Boot:
        """Return how the server boots: one answer for all tries of a server, so that knobs count servers.

        The answers are kept for good: nova destroys a server on the one host before it tries the next.
        """
        with self._boots_lock:
            if instance.uuid not in self._boots:
                self._boots[instance.uuid] = knobs.take_boot(LAYOUT.knobs, instance.display_name)
            return self._boots[instance.uuid]

    def _wait(self, instance: Any, seconds: float, forever: bool) -> None:
        """Wait as a slow or stuck build does. Nova deletes a server only after its build has come to an end."""
        deadline = time.monotonic() + seconds
        while forever or time.monotonic() < deadline:
            instance.refresh()
            if instance.task_state == task_states.DELETING:
                raise exception.UnexpectedDeletingTaskStateError(
                    instance_uuid=instance.uuid, expected={}, actual={"task_state": instance.task_state}
                )
            time.sleep(POLL_SECONDS)

    def _know(self, instance: Any) -> None:
        """Take up a server that an earlier nova process had booted."""
        if instance.uuid not in self.instances:
            state = instance.power_state or power_state.RUNNING
            self.instances[instance.uuid] = fake.FakeInstance(instance.name, state, instance.uuid)
            self._guests.adopt(instance.uuid)

    def _report_end(self, server: str) -> None:
        """Tell nova at once that a server went down, as libvirt's driver does; else it finds out minutes later."""
        if server in self.instances:
            self.instances[server].state = power_state.SHUTDOWN
            self.emit_event(events.LifecycleEvent(server, events.EVENT_LIFECYCLE_STOPPED))


def _make_gpu(number: int) -> dict[str, object]:
    return {
        "address": f"0000:{number + 16:02x}:00.0",
        "vendor_id": GPU_VENDOR,
        "product_id": GPU_PRODUCT,
        "status": "available",
        "dev_type": "type-PCI",
        "parent_addr": None,
        "numa_node": None,
        "label": f"label_{GPU_VENDOR}_{GPU_PRODUCT}",
    }


def _make_files(instance: Any, network_info: Any, block_device_info: Any) -> dict[str, bytes]:
    """Return what the guest program finds in its folder: the config drive's content, and the machine's size."""
    drive = metadata.InstanceMetadata(instance, network_info=network_info)
    files = {"hardware.json": json.dumps(_describe(instance, block_device_info)).encode()}
    for path, content in drive.metadata_for_config_drive():
        folder, _, name = path.rpartition("/")
        if folder == "openstack/latest" and name in ("meta_data.json", "network_data.json"):
            files[name] = content if isinstance(content, bytes) else content.encode()
    files["user_data"] = base64.b64decode(instance.user_data or "")
    return files


def _describe(instance: Any, block_device_info: Any) -> dict[str, object]:
    flavor = instance.flavor
    specs = flavor.extra_specs or {}
    gpus = int(specs.get("resources:VGPU", 0))
    for request in filter(None, specs.get("pci_passthrough:alias", "").split(",")):
        gpus += int(request.partition(":")[2] or 1)
    volumes = (block_device_info or {}).get("block_device_mapping") or []
    return {
        "name": instance.display_name,
        "id": instance.uuid,
        "flavor": flavor.name,
        "cpus": flavor.vcpus,
        "memory_mb": flavor.memory_mb,
        "disk_gb": flavor.root_gb,
        "gpus": gpus,
        "volumes_gb": [volume["connection_info"]["data"]["size_gb"] for volume in volumes],
    }
