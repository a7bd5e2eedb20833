"""The scenarios of a real OpenStack. Most servers never join, so that a kill costs seconds; some join and drain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from faults.boundaries import effects as these
from faults.boundaries.effects import Effect
from faults.boundaries.play import ACTING, Play
from faults.boundaries.sight import OpenStackSight
from faults.boundaries.tally import Boundary, Tally
from lab.jobs import wait_until
from lab.openstack import OpenStackLab
from lab.openstack.faults import Fault
from lab.openstack_stand import OpenStackStand, external_network
from lab.release import Release

KEEP, LET_GO = 3600, 0  # idle_timeout
BOOTS = 900  # boot_timeout of servers that never join
# One answer may take so long, and a boot on a busy machine.
ANSWER, PATIENCE = 8, 60
OPTIONS = {"flavors": ["m1.tiny"], "timeout": ANSWER}
# An intent is as old as its pass, and a busy machine makes passes long: what comes late must be waited for. What a dead
# pass leaves counts five times as long.
SCALING = {"nodes_min": 0, "nodes_max": 1, "idle_timeout": KEEP, "boot_timeout": BOOTS, "intent_timeout": 3}
Scenario = Callable[[Play, Boundary], None]


class CloudPlay(Play):
    """A play on a cloud that can be given faults."""

    def __init__(self, lab: OpenStackLab, stand: OpenStackStand, tally: Tally, mutation: str = "") -> None:
        super().__init__(stand, OpenStackSight(lab, f"ehos-{stand.document['pool']}-"), tally, mutation, PATIENCE)
        self.lab = lab

    def begin(self) -> None:
        """Have a long job run on a node that joins; no further one joins until it is wanted."""
        self.start_long_job()
        self.lab.set_knobs(never_join=-1)

    def want(self, servers: int) -> None:
        """Have so many servers wanted, and no more allowed."""
        self.configure(nodes_min=servers, nodes_max=servers)

    def until(self, servers: int, acting: int | None = None) -> None:
        """Healthy passes until there are so many servers."""
        self.calm(lambda: len(self.sight.servers()) == servers, acting)

    def forget_names(self) -> None:
        """Have the next pass ask for all ids behind names."""
        data = json.loads(self.stand.state.read_bytes())
        self.stand.state.write_text(json.dumps({**data, "names": {}}))


@contextmanager
def open_play(directory: Path, release: Release, lab: OpenStackLab, tally: Tally, mutation: str = "") -> Iterator[Play]:
    """A stand on this cloud with a long job at work."""
    options = {lab.name: OPTIONS}
    with OpenStackStand(directory, release, [lab], options=options, scaling=SCALING) as stand:
        play = CloudPlay(lab, stand, tally, mutation)
        play.begin()
        yield play


def looking(play: CloudPlay, boundary: Boundary) -> None:
    """Nothing is to be done, and no id behind a name is known."""
    play.forget_names()
    if play.kill(boundary):
        play.calm(acting=0)


def creating(play: CloudPlay, boundary: Boundary) -> None:
    """One more server is wanted, and no more than that is allowed."""
    wanted = len(play.sight.servers()) + 1
    play.forget_names()
    play.want(wanted)
    play.kill(boundary)
    play.until(wanted, ACTING)


def finding(play: CloudPlay, boundary: Boundary) -> None:
    """The same, and the reply to the creation is lost."""
    play.lab.faults.add(Fault("lose_reply", "nova", "POST", "/servers$", times=1))
    creating(play, boundary)
    play.lab.faults.clear()


def missing(play: CloudPlay, boundary: Boundary) -> None:
    """The cloud lists none of its servers."""
    fault = play.lab.faults.add(Fault("drop_servers", "nova", "GET", "/servers/detail"))
    play.kill(boundary)
    play.pass_healthily()
    play.lab.faults.remove(fault)
    play.calm(acting=0)


def replacing(play: CloudPlay, boundary: Boundary) -> None:
    """A server is in error."""
    wanted = max(2, len(play.sight.servers()))
    play.want(wanted)
    play.until(wanted)
    broken = next(server.id for server in play.sight.servers() if server.node != play.runner)
    wait_until(lambda: _status(play, broken) == "ACTIVE", PATIENCE, "a server to be active")
    play.lab.call_as_admin("POST", "nova", f"/servers/{broken}/action", {"os-resetState": {"state": "error"}})
    play.kill(boundary)
    play.until(wanted)


def _status(play: CloudPlay, server: str) -> str:
    return str(play.lab.call_as_admin("GET", "nova", f"/servers/{server}")["server"]["status"])


def timing_out(play: CloudPlay, boundary: Boundary) -> None:
    """Servers have not joined in time, and are not wanted any more."""
    wanted = max(2, len(play.sight.servers()))
    play.want(wanted)
    play.until(wanted)
    play.configure(nodes_min=1, boot_timeout=1)
    play.kill(boundary, PATIENCE)
    play.until(1, ACTING)
    play.configure(boot_timeout=BOOTS)


def deleting(play: CloudPlay, boundary: Boundary) -> None:
    """A node that has joined is drained."""
    play.lab.clear_knobs()
    play.want(2)
    play.calm(lambda: len(play.sight.servers()) == 2 and play.stand.joined() == 2)
    play.lab.set_knobs(never_join=-1)
    play.configure(nodes_min=1, idle_timeout=LET_GO)
    play.kill(boundary, PATIENCE)
    play.until(1, ACTING)
    play.configure(idle_timeout=KEEP)


def empty(play: CloudPlay) -> None:
    """Until the node of the long job is alone."""
    play.configure(nodes_min=1, boot_timeout=1)
    play.until(1)
    play.configure(boot_timeout=BOOTS)


def addressing(play: CloudPlay, boundary: Boundary) -> None:
    """Each node gets a port and a floating IP before its server; a node goes, and another comes."""
    own = play.stand.document["clouds"][play.lab.name]
    with external_network(play.lab) as network:
        own["floating_ip"] = network
        creating(play, boundary) if "POST" in boundary.effect or "GET" in boundary.effect else _sweep(play, boundary)
        empty(play)
        play.calm()
        del own["floating_ip"]
        play.configure()


def _sweep(play: CloudPlay, boundary: Boundary) -> None:
    play.want(2)
    play.until(2)
    play.configure(nodes_min=1, boot_timeout=1)
    play.kill(boundary, PATIENCE)
    play.until(1)
    play.configure(boot_timeout=BOOTS)


# --- no kills: what the cloud answers


def _create_beside(fault: Fault) -> Callable[[CloudPlay], None]:
    def play_it(play: CloudPlay) -> None:
        wanted = len(play.sight.servers()) + 1
        play.want(wanted)
        number = play.lab.faults.add(fault)
        for _ in range(2):
            play.pass_healthily()
        if not play.lab.faults.count_hits(number):
            play.tally.note("boundaries missed", f"{fault} struck nothing")
        play.lab.faults.clear()
        play.until(wanted, ACTING)

    return play_it


BREAKAGES: Mapping[str, Callable[..., None]] = {
    "creations that are answered late": _create_beside(Fault("delay", "nova", "POST", "/servers$", seconds=4)),
    "creations that are answered too late": _create_beside(Fault("delay", "nova", "POST", "/servers$", seconds=10)),
    "creations whose reply is lost": _create_beside(Fault("lose_reply", "nova", "POST", "/servers$")),
    "listings that are answered late": _create_beside(Fault("delay", "nova", "GET", "/servers/detail", seconds=3)),
    "listings that leave servers out": _create_beside(Fault("drop_servers", "nova", "GET", "/servers/detail")),
    "servers that are not wanted any more": empty,
}

SCENARIOS: Mapping[str, Callable[..., None]] = {
    "looking": looking,
    "creating": creating,
    "finding": finding,
    "missing": missing,
    "replacing": replacing,
    "timing out": timing_out,
    "deleting": deleting,
    "addressing": addressing,
}


def _at(scenario: str, effects: tuple[Effect, ...], *whens: str) -> Iterator[Boundary]:
    for effect in effects:
        for when in whens or ("before", "after"):
            yield Boundary(scenario, effect.name, when)


def boundaries() -> list[Boundary]:
    """All of them, those first that leave nodes for the others to break."""
    at_look, at_creation = these.NAMES[:4], these.NAMES[4:]
    return [
        *_at("looking", (*these.KEYSTONE, *at_look, *these.NOVA_LOOK)),
        *_at("creating", (*at_creation, *these.NOVA_CREATE)),
        *_at("creating", these.NOVA_CREATE[:1], "late"),
        *_at("finding", these.NOVA_FIND),
        *_at("missing", these.NOVA_EXISTS),
        *_at("replacing", these.NOVA_DELETE),
        *_at("timing out", these.NOVA_CONSOLE),
        *_at("deleting", these.NOVA_DELETE[:1], "before", "after", "late"),
        *_at("deleting", these.NOVA_DELETE[1:], "after"),
        *_at("addressing", (*these.NEUTRON_LOOK, *these.NEUTRON_NAMES)),
        *_at("addressing", these.NEUTRON_CREATE, "after"),
        *_at("addressing", these.NEUTRON_CREATE[::2], "before"),
        *_at("addressing", these.NEUTRON_SWEEP),
    ]
