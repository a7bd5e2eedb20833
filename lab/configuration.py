"""The folders, keys, tokens and configuration files of a lab pool and of its clients."""

from __future__ import annotations

import os
import secrets
import textwrap
from pathlib import Path

from lab import write_secret
from lab.jobs import PoolTools
from lab.release import LabError

# The account that daemons run as when the lab is started by root: Linux's nobody.
NOBODY = 65534
CLIENT_RIGHTS: dict[str, tuple[str, ...]] = {
    "scaler": (),  # no list: all that the ALLOW_ lines give
    "alice": ("READ", "WRITE"),
    "bob": ("READ", "WRITE"),
    "reader": ("READ",),
    "stranger": (),
}
FOLDERS = ("log", "spool", "execute", "run", "lock", "keys", "tokens.d")

NETWORK = """\
NETWORK_INTERFACE = {interface}
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = lab.test
COLLECTOR_HOST = {collectors}
UID_DOMAIN = {domain}
TRUST_DOMAIN = {domain}
SEC_CLIENT_AUTHENTICATION = REQUIRED
SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS
SEC_CLIENT_ENCRYPTION = REQUIRED
SEC_CLIENT_INTEGRITY = REQUIRED
LOCAL_DIR = {folder}
SEC_PASSWORD_DIRECTORY = $(LOCAL_DIR)/keys
SEC_TOKEN_POOL_SIGNING_KEY_FILE = $(LOCAL_DIR)/keys/POOL
SEC_TOKEN_DIRECTORY = $(LOCAL_DIR)/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = $(LOCAL_DIR)/tokens.d
"""
CLIENT = """\
SCHEDD_HOST = {schedd}
LOG = $(LOCAL_DIR)
"""
MANAGER = """\
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
RUN = $(LOCAL_DIR)/run
LOCK = $(LOCAL_DIR)/lock
MASTER_NAME = manager
DAEMON_LIST = MASTER SHARED_PORT COLLECTOR NEGOTIATOR {schedds}
DC_DAEMON_LIST = + {schedds}
USE_SHARED_PORT = True
SHARED_PORT_PORT = {port}
USE_PROCD = False
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_DEFAULT_ENCRYPTION = REQUIRED
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_READ_AUTHENTICATION = REQUIRED
SEC_ENABLE_MATCH_PASSWORD_AUTHENTICATION = True
SEC_ENABLE_REMOTE_ADMINISTRATION = True
ALLOW_READ = {everyone}
ALLOW_WRITE = condor@{domain}, alice@{domain}, bob@{domain}
ALLOW_ADMINISTRATOR = condor@{domain}, scaler@{domain}
ALLOW_DAEMON = condor@{domain}
COLLECTOR.ALLOW_DAEMON = condor@{domain}, scaler@{domain}
ALLOW_NEGOTIATOR = condor@{domain}
ALLOW_CONFIG =
ALLOW_ADVERTISE_SCHEDD = condor@{domain}, scaler@{domain}
ALLOW_ADVERTISE_MASTER = condor@{domain}, scaler@{domain}, node-*@{domain}
ALLOW_ADVERTISE_STARTD = condor@{domain}, scaler@{domain}, node-*@{domain}
# Who holds the token of a node advertises under this node's name, or not at all (docs/operating.md, "Tokens of the
# nodes").
EHOS_IDENTITY = (TARGET.AuthenticatedIdentity ?: "")
EHOS_TOKEN = split($(EHOS_IDENTITY), "@")[0]
EHOS_OWN_MACHINE = substr(strcat("node-", TARGET.Machine), 0, size($(EHOS_TOKEN)) + 1) =?= strcat($(EHOS_TOKEN), ".")
EHOS_OWN_NAME = TARGET.Name =?= TARGET.Machine || split(TARGET.Name, "@")[1] =?= TARGET.Machine
EHOS_OWN_NODE = strcat("node-", TARGET.EhosNode) =?= $(EHOS_TOKEN) || TARGET.EhosNode =?= undefined
EHOS_OWN = (($(EHOS_OWN_MACHINE)) && ($(EHOS_OWN_NAME)) && ($(EHOS_OWN_NODE)))
COLLECTOR_REQUIREMENTS = substr($(EHOS_IDENTITY), 0, 5) =!= "node-" || $(EHOS_OWN) =?= True
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
SCHEDD_INTERVAL = 5
SCHEDD_MIN_INTERVAL = 1
MASTER_BACKOFF_CONSTANT = 1
MASTER_BACKOFF_CEILING = 2
MASTER_NEW_BINARY_DELAY = 3600
MAX_JOBS_RUNNING = 1000
SSH_TO_JOB_ENABLED = False
# A schedd reports its restarts by mail.
MAIL = /bin/true
"""
SCHEDD = """\
{key} = $(SBIN)/condor_schedd
{key}_ARGS = -local-name {key}
{key}.SCHEDD_NAME = {name}
{key}.SPOOL = {spool}
{key}.HISTORY = {spool}/history
{key}.SCHEDD_LOG = $(LOG)/{key}Log
{key}.SCHEDD_ADDRESS_FILE = {spool}/.schedd_address
{key}.SCHEDD_DAEMON_AD_FILE = {spool}/.schedd_classad
"""


class PoolFiles(PoolTools):
    """What a pool has on disk: one folder of its manager, and one of each client."""

    directory: Path
    domain: str
    extra: str
    interface: str
    manager: Path
    spools: dict[str, Path]
    port: int

    @property
    def collectors(self) -> str:
        """What COLLECTOR_HOST is for daemons, clients and nodes."""
        return f"{self.interface}:{self.port}"

    def network(self, folder: Path) -> str:
        """The macros that every daemon and client of the pool needs, with `folder` as its own."""
        return NETWORK.format(interface=self.interface, collectors=self.collectors, domain=self.domain, folder=folder)

    @property
    def signing_key(self) -> Path:
        """The key that signs the pool's tokens, readable by the daemons' account only."""
        return self.manager / "keys" / "POOL"

    def key_copy_for_client(self) -> Path:
        """Return the copy of the signing key that belongs to the account of this process (condor_token_create)."""
        return self.directory / "clients" / "scaler" / "keys" / "POOL"

    def client(self, name: str) -> Path:
        """Return the CONDOR_CONFIG file of scaler, alice, bob, reader or stranger (whose token is not this pool's)."""
        if name not in CLIENT_RIGHTS:
            raise LabError(f"the lab pool has no client {name}; there are {', '.join(CLIENT_RIGHTS)}")
        return self.directory / "clients" / name / "condor_config"

    def create_token(self, identity: str, *rights: str, seconds: int = 864000, user: str = "scaler") -> str:
        """Return a new token for `identity` (no domain: the pool's), limited to `rights` if any are given."""
        full = identity if "@" in identity else f"{identity}@{self.domain}"
        limits = [word for right in rights for word in ("-authz", right)]
        return self.run_checked(
            "condor_token_create", "-identity", full, "-lifetime", str(seconds), *limits, user=user
        ).strip()

    def make_folders(self) -> None:
        """Make the folders and keys of the manager and the clients."""
        try:
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.manager.mkdir(mode=0o755)
        except OSError as error:
            raise LabError(f"cannot make the lab pool's folder: {error}; give it a new or an empty one") from error
        check_access(self.directory)
        check_access(self.release.prefix)
        for folder in [self.manager, self.jobs_directory, *(self.manager / name for name in FOLDERS)]:
            self.make_daemon_folder(folder)
        for spool in self.spools.values():
            self.make_daemon_folder(spool)
        key, foreign_key = secrets.token_bytes(64), secrets.token_bytes(64)
        write_secret(self.signing_key, key)
        give_to_daemons(self.signing_key)
        for name in CLIENT_RIGHTS:
            folder = self.client(name).parent
            for path in (folder, folder / "tokens.d", folder / "keys"):
                path.mkdir(mode=0o700, parents=True)
        write_secret(self.key_copy_for_client(), key)
        write_secret(self.client("stranger").parent / "keys" / "POOL", foreign_key)

    def make_daemon_folder(self, path: Path) -> None:
        """Make a folder of the daemons' account; the secrets' folders are closed to others."""
        path.mkdir(exist_ok=True)
        path.chmod(0o700 if path.name in ("keys", "tokens.d") else 0o755)
        give_to_daemons(path)

    def write_tokens(self) -> None:
        """Write the tokens of the daemons and of every client."""
        write_secret(self.manager / "tokens.d" / "condor", self.create_token("condor").encode())
        give_to_daemons(self.manager / "tokens.d" / "condor")
        for name, rights in CLIENT_RIGHTS.items():
            # The stranger claims to be the scaler, by a key that is not the pool's.
            identity, signer = ("scaler", "stranger") if name == "stranger" else (name, "scaler")
            token = self.create_token(identity, *rights, user=signer)
            write_secret(self.client(name).parent / "tokens.d" / "token", token.encode())

    def write_configuration(self) -> None:
        """Write the configuration files of the manager and of every client."""
        manager = self.daemon_configuration(self.manager, self.port)
        for name, (key, spool) in zip(self.schedd_names, self.spools.items(), strict=True):
            manager += SCHEDD.format(key=key, name=name, spool=spool)
        (self.manager / "condor_config").write_text(manager + textwrap.dedent(self.extra))
        # Started by root, the tools too need to know the account that the pool works under.
        account = f"CONDOR_IDS = {NOBODY}.{NOBODY}\n" if os.geteuid() == 0 else ""
        for name in CLIENT_RIGHTS:
            path = self.client(name)
            client = CLIENT.format(schedd=self.schedd_names[0])
            path.write_text(self.release.configuration() + self.network(path.parent) + client + account)

    def daemon_configuration(self, folder: Path, port: int) -> str:
        """The configuration of a master and its daemons in this folder, behind this port."""
        people = ("condor", *CLIENT_RIGHTS, "node-*")
        everyone = ", ".join(f"{name}@{self.domain}" for name in people if name != "stranger")
        daemons = MANAGER.format(port=port, domain=self.domain, schedds=" ".join(self.spools), everyone=everyone)
        return self.release.configuration() + self.network(folder) + daemons


def give_to_daemons(path: Path) -> None:
    """Make the daemons' account the owner of a path; for an ordinary user it is that already."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def check_access(path: Path) -> None:
    """Raise LabError if the daemons' account cannot enter `path`."""
    if os.geteuid() != 0:
        return
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o001:
            raise LabError(
                f"the lab's daemons run as nobody (uid {NOBODY}), whom {folder} does not let in; "
                "use lab.pool.temporary_directory() or another folder that all can enter"
            )
