"""What of one OpenStack a node will need, asked for piece by piece; each piece that is missing says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote

from ehoslite.clouds.finding import Check, Finding, Said, carry_out, count_of, instead
from ehoslite.clouds.judging import (
    CLOCK_TOLERANCE,
    CONDOR_PORT,
    clock_fault,
    flavor_faults,
    image_advice,
    image_faults,
    network_choice,
    port_opening,
    quota_faults,
    room_left,
    size_of,
)
from ehoslite.clouds.openstack import LONGEST_USER_DATA, OpenStack, gpus_of
from ehoslite.clouds.quotas import room_of
from ehoslite.clouds.request import TAGS_SINCE
from ehoslite.errors import CloudFault, CloudUnreachable, Gone
from ehoslite.resources import UNLIMITED
from ehoslite.settings import FlavorChoice, OpenStackCloudSettings, Settings

LOGIN_ADVICE = {
    "misconfigured": "`cloud` names the entry of clouds.yaml, `clouds_yaml` the file; or give auth_url, username, "
    "password and project_name",
    "unauthorized": "check user, password or application credential (has it expired?), project and domains",
    "unreachable": "check the address (auth_url) and the way there: firewall, proxy, VPN",
    "timeout": "check the address (auth_url) and the way there: firewall, proxy, VPN",
}


def check_openstack(
    settings: Settings,
    name: str,
    cloud: OpenStackCloudSettings,
    clock: Callable[[], float],
    user_data: Callable[[int], Iterable[Said]],
) -> Iterator[Finding]:
    """Every check of this cloud; only the login's when that fails. `deadline` bounds the repetitions of calls."""
    until = clock() + settings.deadline
    checks = _OpenStackCheck(OpenStack(name, cloud, settings.pool, lambda: until - clock()), clock)
    for finding in carry_out(name, [("login", checks.login)]):
        yield finding
        if not finding.ok:
            return
    yield from carry_out(name, [*checks.pieces(), ("user data", lambda: user_data(LONGEST_USER_DATA))])


class _OpenStackCheck:
    """The checks of one cloud; later ones use what earlier ones found, and do without what they did not."""

    def __init__(self, cloud: OpenStack, clock: Callable[[], float]) -> None:
        self.cloud = cloud
        self.settings = cloud.settings
        self.calls = cloud.calls
        self.clock = clock
        self.off = ""
        self.image: Mapping[str, Any] | None = None
        self.flavors: dict[str, Mapping[str, Any]] = {}
        self.groups: list[Mapping[str, Any]] = []
        self.with_volumes = False

    def pieces(self) -> Iterator[Check]:
        """The checks after the login, in the order in which they build upon each other."""
        settings = self.settings
        yield "clock", self.clocks
        yield "servers' tags", self.tags
        yield "image", self.images
        for choice in settings.flavors:
            yield f"flavor {choice.name}", partial(self.flavor, choice)
        for network in settings.networks:
            yield f"network {network}", partial(self.network, network)
        if not settings.networks:
            yield "network", self.any_network
        if settings.floating_ip:
            yield f"floating IPs of {settings.floating_ip}", self.floating_ip
        for group in settings.security_groups or ("default",):
            yield f"security group {group}", partial(self.group, group)
        yield f"port {CONDOR_PORT}", self.port
        if settings.keypair:
            yield f"keypair {settings.keypair}", self.keypair
        if settings.boot_volume or settings.scratch_size:
            yield "volumes", self.volumes
        yield "quota", self.quota

    def login(self) -> Iterator[Said]:
        """Whether the credentials are found and accepted; the answer tells the cloud's time too."""
        begun = self.clock()
        try:
            date = self.calls.headers("identity", "/").get("Date", "")
        except CloudFault as error:
            advice = LOGIN_ADVICE.get(error.code)
            yield False, f"{str(error).rstrip('.')}; {advice}" if advice else str(error)
            return
        self.off = clock_fault(date, begun, self.clock())
        session = self.calls.connection().session
        access = session.auth.get_access(session)
        entry = f"entry {self.settings.cloud or self.cloud.name} of clouds.yaml"
        login = self.settings.auth_url or entry
        yield True, f"{login}: accepted as {access.username}, project {access.project_name or access.project_id}"

    def clocks(self) -> Iterator[Said]:
        """What the login showed of the cloud's clock and ours."""
        yield not self.off, self.off or f"the cloud's and ours agree to {CLOCK_TOLERANCE:.0f} s"

    def tags(self) -> Iterator[Said]:
        """Whether servers are known by tags or, with an older Nova, by metadata."""
        speaks = "Nova is spoken to in {}.{}".format(*self.cloud.microversion())
        since = "{}.{}".format(*TAGS_SINCE)
        yield True, f"{speaks}; " + ("supported" if self.cloud.has_tags() else f"none before {since}: by metadata")

    def images(self) -> Iterator[Said]:
        """Whether there is the one image, and whether it is active."""
        try:
            found = self.cloud.names.image()
        except CloudUnreachable as error:
            if error.code != "misconfigured":
                raise
            every = self.calls.get("image", "/images?sort=created_at:desc&limit=1000")["images"]
            yield False, f"{error}{image_advice(self.settings.image, every)}"
            return
        self.image = self.calls.get("image", f"/images/{quote(found)}")
        state = str(self.image["status"])
        newest = ", the newest" if self.settings.image_newest else ""
        yield state == "active", f"{self.image['name']} ({found}){newest}, {state}"

    def flavor(self, choice: FlavorChoice) -> Iterator[Said]:
        """Whether there is this flavor, how large it is, and whether a node of it can be made and be of use."""
        names = copy(self.cloud.names)
        names.settings = replace(self.settings, flavors=(choice,))
        try:
            seen = names.flavors()[choice.name]
        except CloudUnreachable as error:
            if error.code != "misconfigured":
                raise
            every = self.calls.get("compute", "/flavors")["flavors"]
            yield False, f"{error}{instead(choice.name, [one['name'] for one in every])}"
            return
        self.flavors[choice.name] = seen
        gpus = gpus_of(seen.get("extra_specs", {}))
        size = f"{count_of(int(seen['vcpus']), 'core')}, {seen['ram']} MB memory, {seen['disk']} GB disk"
        size += f", {count_of(gpus, 'GPU')}" if gpus else ""
        faults = [*flavor_faults(seen, self.settings), *image_faults(seen, self.image or {}, self.settings)]
        faults += quota_faults(seen, self.absolute, self.settings)
        yield not faults, "; ".join([size, *faults])

    def network(self, name: str) -> Iterator[Said]:
        """Whether there is this network, and whether a server can be put into it."""
        try:
            found = self.cloud.names.network(name)
        except CloudUnreachable as error:
            yield False, self._with_names(error, name, "networks")
            return
        network = self.calls.get("network", f"/networks/{quote(found)}")["network"]
        faults = [] if network["subnets"] else ["Nova refuses a network without a subnet: make one"]
        if not network["admin_state_up"]:
            faults.append("it is switched off (admin_state_up)")
        yield not faults, "; ".join([found, *faults])

    def any_network(self) -> Iterator[Said]:
        """What Nova will choose when no network is configured."""
        if self.settings.floating_ip:
            yield False, "floating_ip needs a network to be named in `networks`"
            return
        project = quote(self.calls.project())
        queries = (f"project_id={project}&shared=false", "shared=true")
        found = [one for query in queries for one in self.calls.get("network", f"/networks?{query}")["networks"]]
        yield network_choice([str(one["name"] or one["id"]) for one in found])

    def floating_ip(self) -> Iterator[Said]:
        """Whether the floating IPs' network is there and external."""
        name = self.settings.floating_ip
        try:
            found = self.cloud.names.network(name)
        except CloudUnreachable as error:
            yield False, self._with_names(error, name, "networks")
            return
        external = bool(self.calls.get("network", f"/networks/{quote(found)}")["network"].get("router:external"))
        yield external, found if external else f"{found} is no external network: floating IPs come from those alone"

    def group(self, name: str) -> Iterator[Said]:
        """Whether there is this security group."""
        try:
            found = self.cloud.names.security_group(name)
        except CloudUnreachable as error:
            yield False, self._with_names(error, name, "security-groups")
            return
        group = self.calls.get("network", f"/security-groups/{quote(found)}")["security_group"]
        self.groups.append(group)
        configured = "" if self.settings.security_groups else ", since none is configured"
        yield True, f"{found}, {count_of(len(group['security_group_rules']), 'rule')}{configured}"

    def _with_names(self, error: CloudFault, wanted: str, kind: str) -> str:
        """The error, with what there is instead where the name is the trouble."""
        if error.code != "misconfigured" or "there is no" not in str(error):
            return str(error)
        own = f"&project_id={quote(self.calls.project())}" if kind == "security-groups" else ""
        every = self.calls.get("network", f"/{kind}?fields=name{own}")[kind.replace("-", "_")]
        return f"{error}{instead(wanted, [one['name'] for one in every])}"

    def port(self) -> Iterator[Said]:
        """Whether the groups together let HTCondor in, and from where."""
        if self.groups:
            yield port_opening(self.groups)
        else:
            yield False, "no security group is found that could let it in"

    def keypair(self) -> Iterator[Said]:
        """Whether this login's user has the keypair: no other user's counts."""
        name = self.settings.keypair
        try:
            seen = self.calls.get("compute", f"/os-keypairs/{quote(name, safe='')}")["keypair"]
        except Gone:
            every = self.calls.get("compute", "/os-keypairs")["keypairs"]
            there = instead(name, [one["keypair"]["name"] for one in every])
            yield False, f"the user of this login has no keypair {name!r} (it sees its own alone){there}"
            return
        yield True, str(seen["fingerprint"])

    def volumes(self) -> Iterator[Said]:
        """Whether there is a Cinder for boot_volume and scratch_size."""
        try:
            self.calls.get("block_storage", "/limits")
        except CloudFault as error:
            if error.code != "misconfigured":
                raise
            yield False, f"boot_volume and scratch_size need Cinder, which this cloud does not offer: {error}"
            return
        self.with_volumes = True
        yield True, "Cinder answers"

    @cached_property
    def absolute(self) -> Mapping[str, Any]:
        """Nova's quotas."""
        return dict(self.calls.get("compute", "/limits")["limits"]["absolute"])

    def quota(self) -> Iterator[Said]:
        """What is left of every quota that a node uses, in nodes; how many may build at once is no matter here."""
        settings = replace(self.settings, limits=replace(self.settings.limits, building=UNLIMITED))
        if not self.with_volumes:
            settings = replace(settings, boot_volume=0, scratch_size=0)
        servers = self.cloud.servers()
        listed = [(server.flavor, {"status": server.status}) for server in servers]
        sizes = [
            size_of(self.cloud.name, name, int(seen["vcpus"]), int(seen["ram"])) for name, seen in self.flavors.items()
        ]
        nova = "{}.{}".format(*self.cloud.microversion())
        yield room_left(room_of(settings, self.calls, listed, sizes, nova), sizes, len(servers))
