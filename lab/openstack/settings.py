"""Writes the daemons' configuration files."""

from __future__ import annotations

import base64
import os
import shutil
import uuid

from lab.openstack.layout import REGION, Layout, write_private

Sections = dict[str, dict[str, object]]
QUIET = "neutronclient=ERROR,keystonemiddleware=ERROR,stevedore=CRITICAL,urllib3=WARN,sqlalchemy=WARN"
SERVICE_PROJECT = "service"


def write_settings(layout: Layout) -> None:
    """Write all configuration files, readable by the user alone."""
    makers = {
        "keystone/keystone.conf": _keystone,
        "placement/placement.conf": _placement,
        "glance/glance-api.conf": _glance,
        "neutron/neutron.conf": _neutron,
        "nova/nova.conf": _nova,
        "cinder/cinder.conf": _cinder,
    }
    for name, make in makers.items():
        write_private(layout.settings / name, _format(make(layout)))
    for name in ("nova", "cinder"):
        shutil.copy(layout.environment / "etc" / name / "api-paste.ini", layout.settings / name)
    shutil.copy(layout.environment / "etc" / "cinder" / "resource_filters.json", layout.settings / "cinder")
    write_private(layout.settings / "policy.yaml", "{}\n")
    identity = layout.state / "nova" / "compute_id"  # without it nova refuses to start on a database that knows hosts
    if not identity.exists():
        identity.write_text(str(uuid.uuid4()))
    _write_keys(layout)


def make_environment(layout: Layout) -> dict[str, str]:
    """Return the environment variables of the daemons and of the programs that prepare their databases."""
    etc = layout.settings
    repository = layout_root()
    return {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),  # the guest programs get it too
        "HOME": str(layout.state),
        "XDG_CACHE_HOME": str(layout.state / "cache"),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": f"{repository}:{layout.environment / 'plugins'}",
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OS_KEYSTONE_CONFIG_DIR": str(etc / "keystone"),
        "OS_PLACEMENT_CONFIG_DIR": str(etc / "placement"),
        "OS_GLANCE_CONFIG_DIR": str(etc / "glance"),
        "OS_NOVA_CONFIG_DIR": str(etc / "nova"),
        "OS_NOVA_CONFIG_FILES": "api-paste.ini;nova.conf",
        "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1",
        "OS_NEUTRON_CONFIG_DIR": str(etc / "neutron"),
        "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
        "EHOSLITE_LAB_RECORD": str(layout.record),
    }


def layout_root() -> str:
    """Return the folder that this project's packages are imported from."""
    from lab.openstack.install import HERE

    return str(HERE.parent.parent)


def _format(sections: Sections) -> str:
    lines: list[str] = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        for key, value in values.items():
            several = value if isinstance(value, list) else [value]
            lines += [f"{key} = {one}" for one in several]
    return "\n".join(lines) + "\n"


def _common(layout: Layout, service: str) -> Sections:
    return {
        "DEFAULT": {
            "log_file": layout.log / f"{service}.log",
            "transport_url": "fake:/",
            "default_log_levels": QUIET,
            "state_path": layout.state / service,
        },
        "oslo_concurrency": {"lock_path": layout.state / service / "lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "oslo_policy": {"policy_file": layout.settings / "policy.yaml"},
    }


def _database(layout: Layout, name: str) -> dict[str, object]:
    return {"connection": layout.database_url(name), "sqlite_synchronous": "false"}


def _login(layout: Layout, user: str) -> dict[str, object]:
    """Log in straight at keystone: what the services say to each other does not pass the proxies."""
    return {
        "auth_type": "v3password",
        "auth_url": layout.ports.back_url("keystone"),
        "username": user,
        "password": layout.secrets.service,
        "project_name": SERVICE_PROJECT,
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": REGION,
        "valid_interfaces": "internal",
    }


def _token_check(layout: Layout, user: str) -> dict[str, object]:
    return {
        **_login(layout, user),
        "interface": "internal",
        "www_authenticate_uri": layout.ports.url("keystone"),
        "service_token_roles": "service",
        "service_token_roles_required": "true",
    }


def _keystone(layout: Layout) -> Sections:
    keys = layout.settings / "keystone"
    return {
        **_common(layout, "keystone"),
        "database": _database(layout, "keystone"),
        "fernet_tokens": {"key_repository": keys / "fernet-keys"},
        "fernet_receipts": {"key_repository": keys / "fernet-keys"},
        "credential": {"key_repository": keys / "credential-keys"},
        "token": {"provider": "fernet", "expiration": 3600},
        # the cheapest that keystone takes: the secrets are random and live as long as the lab
        "identity": {"password_hash_rounds": 4},
        "cache": {"enabled": "true", "backend": "oslo_cache.dict", "expiration_time": 300},
    }


def _placement(layout: Layout) -> Sections:
    return {
        "DEFAULT": {"log_file": layout.log / "placement.log"},
        "placement_database": _database(layout, "placement"),
        "api": {"auth_strategy": "keystone"},
        "keystone_authtoken": _token_check(layout, "placement"),
    }


def _glance(layout: Layout) -> Sections:
    state = layout.state / "glance"
    sections = _common(layout, "glance")
    sections["DEFAULT"] |= {
        "enabled_backends": "fs:file",
        "worker_self_reference_url": layout.ports.back_url("glance"),
        "node_staging_uri": f"file://{state / 'staging'}",
    }
    return {
        **sections,
        "database": _database(layout, "glance"),
        "keystone_authtoken": _token_check(layout, "glance"),
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": layout.environment / "etc" / "glance" / "glance-api-paste.ini",
        },
        "glance_store": {"default_backend": "fs"},
        "fs": {"filesystem_store_datadir": state / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": state / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": state / "tasks"},
    }


def _neutron(layout: Layout) -> Sections:
    sections = _common(layout, "neutron")
    sections["DEFAULT"] |= {
        "core_plugin": "ml2",
        "service_plugins": "router",
        "auth_strategy": "keystone",
        "api_paste_config": layout.environment / "etc" / "neutron" / "api-paste.ini",
        "dhcp_agent_notification": "false",
        "notify_nova_on_port_status_changes": "false",
        "notify_nova_on_port_data_changes": "false",
        "api_workers": 0,
        "rpc_workers": 0,
    }
    return {
        **sections,
        "database": _database(layout, "neutron"),
        "keystone_authtoken": _token_check(layout, "neutron"),
        "nova": _login(layout, "nova"),
        "ml2": {
            "type_drivers": "local",
            "tenant_network_types": "local",
            "mechanism_drivers": "ehoslite_any",
            "extension_drivers": "port_security",
        },
        "securitygroup": {"enable_security_group": "true"},
        "quotas": {"default_quota": 5000, "quota_port": 5000, "quota_security_group": 200},
    }


def _nova(layout: Layout) -> Sections:
    sections = _common(layout, "nova")
    sections["DEFAULT"] |= {
        "host": "controller",
        "compute_driver": "ehoslite.GuestDriver",
        "instances_path": layout.servers,
        "vif_plugging_is_fatal": "false",
        "vif_plugging_timeout": 0,
        "report_interval": 5,
        "service_down_time": 20,
        "instance_build_timeout": 0,
        "max_concurrent_builds": 20,
        "shutdown_timeout": 5,
        "long_rpc_timeout": 120,
    }
    return {
        **sections,
        "api": {"auth_strategy": "keystone", "response_validation": "ignore"},
        "wsgi": {"api_paste_config": layout.environment / "etc" / "nova" / "api-paste.ini"},
        "database": _database(layout, "nova_cell1"),
        "api_database": _database(layout, "nova_api"),
        "keystone_authtoken": _token_check(layout, "nova"),
        "service_user": {"send_service_user_token": "true", **_login(layout, "nova")},
        "placement": _login(layout, "nova"),
        "glance": {**_login(layout, "nova"), "endpoint_override": layout.ports.back_url("glance")},
        "neutron": _login(layout, "nova"),
        "cinder": {**_login(layout, "nova"), "catalog_info": "block-storage:cinder:internalURL"},
        "vnc": {"enabled": "false"},
        "scheduler": {"discover_hosts_in_cells_interval": -1},
        "filter_scheduler": {
            "enabled_filters": "ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,PciPassthroughFilter"
        },
        "conductor": {"workers": 1},
        "pci": {
            "alias": '{"name": "a100", "vendor_id": "10de", "product_id": "20b0", "device_type": "type-PCI"}',
            "device_spec": '{"vendor_id": "10de", "product_id": "20b0"}',
        },
    }


def _cinder(layout: Layout) -> Sections:
    sections = _common(layout, "cinder")
    sections["DEFAULT"] |= {
        "host": "controller",
        "auth_strategy": "keystone",
        "api_paste_config": layout.settings / "cinder" / "api-paste.ini",
        "resource_query_filters_file": layout.settings / "cinder" / "resource_filters.json",
        "enabled_backends": "lab",
        "default_volume_type": "__DEFAULT__",
    }
    return {
        **sections,
        "lab": {
            "volume_driver": "lab.openstack.inside.volumes.LabVolumeDriver",
            "volume_backend_name": "lab",
        },
        "database": _database(layout, "cinder"),
        "keystone_authtoken": _token_check(layout, "cinder"),
        "service_user": {"send_service_user_token": "true", **_login(layout, "cinder")},
        "nova": {**_login(layout, "cinder"), "interface": "internal"},
    }


def _write_keys(layout: Layout) -> None:
    """Write keystone's keys, new ones for each cloud: a token of one is worth nothing at another.

    A Fernet key is 32 random bytes, base64 by the URL-safe alphabet (the Fernet specification).
    """
    for name in ("fernet-keys", "credential-keys"):
        folder = layout.settings / "keystone" / name
        folder.mkdir(mode=0o700, exist_ok=True)
        for key in ("0", "1"):
            if not (folder / key).exists():
                write_private(folder / key, base64.urlsafe_b64encode(os.urandom(32)).decode())
