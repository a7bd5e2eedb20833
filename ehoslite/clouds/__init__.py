"""The Cloud interface and the opener, which imports only the backends that the configuration names.

To add a backend: a class with these methods in a file of its own here, its settings in settings.py (CLOUD_TYPES), a
line in `open_cloud`, and a line in tests/test_cloud_contract.py, whose cases are the interface's real definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ehoslite.model import Flavor, Leftover, Room, Server
from ehoslite.settings import CloudSettings, LocalCloudSettings, Settings


class Cloud(Protocol):
    """Where servers are made. Every method raises CloudUnreachable when the cloud does not give a whole answer."""

    name: str

    def flavors(self) -> tuple[Flavor, ...]:
        """The sizes that may be made here."""
        ...

    def servers(self) -> tuple[Server, ...]:
        """Every server that carries this pool's tags, in whatever state; never another's."""
        ...

    def exists(self, server: str) -> bool:
        """Whether the server with this id is there and still ours, asked directly: a listing may leave some out."""
        ...

    def room(self) -> Room:
        """What quota and limits still allow, with what others in the project use."""
        ...

    def leftovers(self) -> tuple[Leftover, ...]:
        """What beside servers was made for nodes of this pool and is still there, whether the server is or not."""
        ...

    def remove(self, leftover: Leftover) -> None:
        """Remove it. What is gone already is a success. Raises CloudFault."""
        ...

    def console(self, server: Server) -> str:
        """The end of the server's console log as one line, without what looks like a secret; empty if it has none."""
        ...

    def create(self, node: str, flavor: str, user_data: str) -> str:
        """Make a server with the tags of the pool and of this node id; do not wait for it; give its id. Raises
        NoCapacity, BadRequest, ActionFailed and CloudUnreachable when certainly nothing was made; Unclear when it may
        have been: the next listing tells."""
        ...

    def delete(self, server: Server) -> None:
        """Delete the server and what was made with it. One that is gone already is a success. Raises ActionFailed."""
        ...


def open_cloud(
    name: str, settings: CloudSettings, pool: str, remaining: Callable[[], float], known: dict[str, Any]
) -> Cloud:
    """The cloud of this name. Nothing is asked of it yet. `known` holds what its names stood for in earlier passes,
    and is filled."""
    if isinstance(settings, LocalCloudSettings):
        from ehoslite.clouds.local import LocalCloud

        return LocalCloud(name, settings, pool)
    from ehoslite.clouds.openstack import OpenStack

    return OpenStack(name, settings, pool, remaining, known)


def open_clouds(
    settings: Settings, remaining: Callable[[], float], names: dict[str, dict[str, Any]] | None = None
) -> tuple[Cloud, ...]:
    """The configured clouds, in their order. `remaining` tells the seconds left of the pass; `names` holds, by cloud,
    what names stood for in earlier passes, and is filled."""
    names = {} if names is None else names
    return tuple(
        open_cloud(name, cloud, settings.pool, remaining, names.setdefault(name, {}))
        for name, cloud in settings.clouds.items()
    )


__all__ = ["Cloud", "open_cloud", "open_clouds"]
