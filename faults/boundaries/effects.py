"""Everything that a pass does to the world or asks of it, by name, with the place in the program where it is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Any

Arguments = tuple[Any, ...]


def _always(_arguments: Arguments) -> bool:
    return True


@dataclass(frozen=True)
class Effect:
    """`place` is MODULE:PATH, as in "ehoslite.storage:os.fsync" (the call of os.fsync within that module alone);
    `matches` tells by the arguments whether a call of it is meant. `asked` says that it is done in the child process
    that asks HTCondor, in which case the pass dies and the child goes on."""

    name: str
    place: str
    matches: Callable[[Arguments], bool] = _always
    asked: bool = False


def _of_folder(arguments: Arguments) -> bool:
    return S_ISDIR(Path(f"/proc/self/fd/{arguments[0]}").stat().st_mode)


def _of_file(arguments: Arguments) -> bool:
    return not _of_folder(arguments)


def _named(part: str) -> Callable[[Arguments], bool]:
    return lambda arguments: part in Path(arguments[0]).name


def _runs(program: str) -> Callable[[Arguments], bool]:
    """Popen.__init__ with this program among the first words of its command."""
    return lambda arguments: any(Path(str(word)).name == program for word in list(arguments[1])[:2])


def _started(program: str) -> Effect:
    return Effect(f"{program} is started", "subprocess:Popen.__init__", _runs(program))


def _method(name: str, place: str) -> Effect:
    return Effect(name, f"ehoslite.{place}")


LOCK = (
    Effect("lock: open", "ehoslite.record:os.open"),
    Effect("lock: take", "ehoslite.record:fcntl.flock"),
    Effect("lock: write our number", "ehoslite.record:os.pwrite"),
)
UNLOCK = (Effect("lock: close", "ehoslite.record:os.close"),)
READ = (_method("state file: read", "storage:AtomicJSONStorage.read"),)
STATE = (
    Effect("state file: open the new one", "ehoslite.storage:os.open", _named(".new")),
    Effect("state file: write", "ehoslite.storage:json.dump"),
    Effect("state file: fsync", "ehoslite.storage:os.fsync", _of_file),
    Effect("state file: rename", "pathlib:Path.replace", _named(".state.json.new")),
    Effect("state file: fsync of its folder", "ehoslite.storage:os.fsync", _of_folder),
)
SET_ASIDE = (
    Effect("state file: set aside", "pathlib:Path.replace", lambda paths: ".unusable-" in Path(paths[1]).name),
)
LEASE = (_method("condor: renew the lease", "pool:Pool.renew_lease"),)
MATCH = (_method("condor: match", "pool:Pool.match"),)
LOOK = (
    _method("condor: query the slots", "pool:Pool.slots"),
    _method("condor: query the schedds", "pool:Pool.demand"),
)
PARAMETERS = (
    _method("condor: read COLLECTOR_HOST", "pool:Pool.collector"),
    _method("condor: read TRUST_DOMAIN", "pool:Pool.domain"),
)
TOKEN_FETCH = (_method("condor: fetch a token", "pool:Pool.node_token"), _started("condor_token_fetch"))
TOKEN_CREATE = (_started("condor_token_create"),)
DRAIN = (_method("condor: drain", "pool:Pool.drain"), _started("condor_drain"))
UNDRAIN = (
    _method("condor: cancel a drain", "pool:Pool.undrain"),
    Effect("condor_drain -cancel is started", "subprocess:Popen.__init__", _runs("condor_drain")),
)
LAST_LOOK = (_method("condor: query the slots of nodes", "pool:Pool.slots_of"),)
LAST_QUESTION = (_method("condor: query the jobs on nodes", "pool:Pool.jobs_on"),)
INVALIDATE = (
    _method("condor: invalidate", "pool:Pool.invalidate"),
    Effect("condor: invalidate one ad", "htcondor2:Collector.advertise", asked=True),
)

LOCAL_LOOK = (
    _method("local: list servers", "clouds.local:LocalCloud.servers"),
    _method("local: room", "clouds.local:LocalCloud.room"),
    _method("local: leftovers", "clouds.local:LocalCloud.leftovers"),
)
LOCAL_CREATE = (
    _method("local: create", "clouds.local:LocalCloud.create"),
    _method("local: make the folder", "clouds.local:LocalCloud._make_folder"),
    Effect("local: name the folder", "pathlib:Path.rename", _named(".new-")),
    _method("local: boot", "clouds.local:LocalCloud._boot"),
    _started("guest.py"),
)
LOCAL_DELETE = (
    _method("local: delete", "clouds.local:LocalCloud.delete"),
    Effect("local: set the folder aside", "pathlib:Path.rename", lambda it: ".gone-" in Path(it[1]).name),
    Effect("local: remove the folder", "ehoslite.clouds.local:shutil.rmtree"),
)
LOCAL_SWEEP = (_method("local: sweep", "clouds.local:LocalCloud.remove"),)


def _call(name: str, service: str, verb: str, path: str) -> Effect:
    """A request to an API, until its answer is there; `path` is a regular expression for its beginning."""

    def matches(arguments: Arguments) -> bool:
        return (arguments[1], arguments[2]) == (service, verb) and re.match(path, arguments[3]) is not None

    return Effect(name, "ehoslite.clouds.calls:Calls._answer", matches)


def _sent(name: str, verb: str, path: str) -> Effect:
    """The sending of a request: after it the API has it, and nobody hears the answer."""

    def matches(arguments: Arguments) -> bool:
        return arguments[1] == verb and re.search(path, arguments[2]) is not None

    return Effect(f"{name} is sent", "urllib3.connection:HTTPConnection.request", matches)


KEYSTONE = (Effect("keystone: POST token", "keystoneauth1.identity.v3.base:Auth.get_auth_ref"),)
NAMES = (
    _call("nova: GET its version", "compute", "GET", r"/$"),
    _call("nova: GET flavors", "compute", "GET", "/flavors/detail"),
    _call("nova: GET extra specs", "compute", "GET", "/flavors/[^/]+/os-extra_specs"),
    _call("nova: GET untagged servers", "compute", "GET", r"/servers/detail\?not-tags"),
    _call("glance: GET images", "image", "GET", "/images"),
    _call("neutron: GET networks", "network", "GET", "/networks"),
)
NOVA_LOOK = (
    _call("nova: GET servers", "compute", "GET", r"/servers/detail\?tags"),
    _call("nova: GET limits", "compute", "GET", "/limits"),
)
NOVA_CREATE = (
    _call("nova: POST server", "compute", "POST", "/servers$"),
    _sent("nova: POST server", "POST", "/servers$"),
)
NOVA_FIND = (_call("nova: GET the server of a lost reply", "compute", "GET", r"/servers/detail\?tags=.*node"),)
NOVA_EXISTS = (_call("nova: GET one server", "compute", "GET", r"/servers/[0-9a-f-]{36}$"),)
NOVA_CONSOLE = (_call("nova: POST for the console", "compute", "POST", "/servers/.*/action"),)
NOVA_DELETE = (
    _call("nova: DELETE server", "compute", "DELETE", "/servers/"),
    _sent("nova: DELETE server", "DELETE", "/servers/"),
)
NEUTRON_LOOK = (
    _call("neutron: GET ports", "network", "GET", "/ports"),
    _call("neutron: GET floating IPs", "network", "GET", "/floatingips"),
    _call("neutron: GET quotas", "network", "GET", "/quotas"),
)
NEUTRON_NAMES = (_call("neutron: GET security groups", "network", "GET", "/security-groups"),)
NEUTRON_CREATE = (
    _call("neutron: POST port", "network", "POST", "/ports"),
    _sent("neutron: POST port", "POST", "/ports"),
    _call("neutron: POST floating IP", "network", "POST", "/floatingips"),
    _sent("neutron: POST floating IP", "POST", "/floatingips"),
)
NEUTRON_SWEEP = (
    _call("neutron: DELETE port", "network", "DELETE", "/ports/"),
    _call("neutron: DELETE floating IP", "network", "DELETE", "/floatingips/"),
)


def by_name(effects: Iterable[Effect]) -> dict[str, Effect]:
    """These effects by their names."""
    return {effect.name: effect for effect in effects}


EFFECTS = by_name(
    (
        *(*LOCK, *UNLOCK, *READ, *STATE, *SET_ASIDE),
        *(*LEASE, *LOOK, *MATCH, *PARAMETERS, *TOKEN_FETCH, *TOKEN_CREATE, *DRAIN, *UNDRAIN),
        *(
            *LAST_LOOK,
            *LAST_QUESTION,
            *INVALIDATE,
            *LOCAL_LOOK,
            *LOCAL_CREATE,
            *LOCAL_DELETE,
            *LOCAL_SWEEP,
            *KEYSTONE,
            *NAMES,
        ),
        *(*NOVA_LOOK, *NOVA_CREATE, *NOVA_FIND, *NOVA_EXISTS, *NOVA_CONSOLE, *NOVA_DELETE),
        *(*NEUTRON_LOOK, *NEUTRON_NAMES, *NEUTRON_CREATE, *NEUTRON_SWEEP),
    )
)
