"""Makes a filled cloud's databases once, and copies them for each start.

Each copy is given ids, addresses, paths and passwords of its own, so that no two clouds can be taken for each other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from lab.openstack.daemons import Daemons
from lab.openstack.install import CONSTRAINTS, HERE, hold_lock
from lab.openstack.layout import APIS, REGION, Layout, Ports, Secrets
from lab.openstack.seed import IMAGES, NEIGHBOUR, TENANT, Seeder
from lab.openstack.settings import make_environment, write_settings

# what makes the databases what they are
SOURCES = ("golden.py", "seed.py", "settings.py", "layout.py", "rest.py", "inside/prepare.py")
# keystone can check this kind of hash, and the standard library can make it; so few rounds do for random passwords
HASH_ROUNDS = 1000
COPIED_STATE = Path("glance") / "images"


def make_secrets() -> Secrets:
    """Make a cloud's passwords."""
    return Secrets(*(secrets.token_urlsafe(24) for _ in Secrets.__dataclass_fields__))


def find_golden(environment: Path, cache: Path) -> Path:
    """Return the folder of the golden databases, made first if they are missing or of other code.

    Raises StartError if a daemon does not come up, RuntimeError if a database cannot be made.
    """
    source = b"".join((HERE / name).read_bytes() for name in SOURCES) + CONSTRAINTS.read_bytes()
    golden = cache / f"golden-{hashlib.sha256(source).hexdigest()[:12]}"
    marker = golden / "complete.json"
    if marker.exists():
        return golden
    with hold_lock(cache / "golden.lock"):
        if not marker.exists():
            _make_golden(golden, environment)
    return golden


def _make_golden(golden: Path, environment: Path) -> None:
    draft = golden.with_suffix(".draft")
    layout = Layout(draft, environment, Ports.pick(), make_secrets(), computes=())
    Daemons(layout).end_all()  # of an earlier try that was killed
    for folder in (golden, draft):
        shutil.rmtree(folder, ignore_errors=True)
    layout.make_folders()
    layout.save()
    write_settings(layout)
    daemons = Daemons(layout)
    try:
        _create_databases(layout)
        ids = _fill(layout, daemons)
    finally:
        daemons.end_all()
    _set_image_dates(layout)
    golden.mkdir()  # for all to read: there is no secret in it that anything still takes
    # without write-ahead logs, whose files the readers of a database would have to write
    _copy_databases(layout.databases, golden, "delete")
    shutil.copytree(layout.state / COPIED_STATE, golden / COPIED_STATE, copy_function=shutil.copyfile)
    content = {"directory": str(layout.directory), "ids": ids, "ports": [layout.ports.front, layout.ports.back]}
    (golden / "complete.json").write_text(json.dumps(content))
    shutil.rmtree(draft)


def _create_databases(layout: Layout) -> None:
    """Create all schemas, some side by side."""
    etc, programs = layout.settings, layout.environment / "bin"
    placement = [str(programs / "placement-manage"), "--config-file", str(etc / "placement" / "placement.conf")]
    prepare = [str(layout.python), "-m", "lab.openstack.inside.prepare"]
    keystone = [str(programs / "keystone-manage"), "--config-file", str(etc / "keystone" / "keystone.conf")]
    url = layout.ports.url("keystone")
    addresses = [f"--bootstrap-{kind}-url={url}" for kind in ("admin", "public")]
    addresses.append(f"--bootstrap-internal-url={layout.ports.back_url('keystone')}")
    lanes = [
        [[*prepare, "nova"], [*prepare, "neutron"]],
        [
            [*keystone, "db_sync"],
            [*keystone, "bootstrap", f"--bootstrap-region-id={REGION}", *addresses],
            [*placement, "db", "sync"],
            [str(programs / "glance-manage"), "--config-dir", str(etc / "glance"), "db_sync"],
            [str(programs / "cinder-manage"), "--config-file", str(etc / "cinder" / "cinder.conf"), "db", "sync"],
        ],
    ]
    running = [_run_lane(layout, number, lane) for number, lane in enumerate(lanes)]
    codes = [lane.wait() for lane in running]
    for number, code in enumerate(codes):
        if code:
            tail = "\n".join((layout.log / f"prepare-{number}.out").read_text(errors="replace").splitlines()[-25:])
            raise RuntimeError(f"a database of the lab's OpenStack could not be made:\n{tail}")
    for path in layout.databases.glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as database:
            database.execute("pragma journal_mode=wal")


def _run_lane(layout: Layout, number: int, commands: list[list[str]]) -> subprocess.Popen[bytes]:
    """Run the commands one after another, until one fails."""
    program = "import json,subprocess,sys\nfor c in json.loads(sys.argv[1]): subprocess.run(c, check=True)"
    environment = make_environment(layout) | {"OS_BOOTSTRAP_PASSWORD": layout.secrets.admin}
    with (layout.log / f"prepare-{number}.out").open("wb") as output:
        return subprocess.Popen(
            [str(layout.python), "-c", program, json.dumps(commands)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _fill(layout: Layout, daemons: Daemons) -> list[str]:
    daemons.start(["keystone", "glance", "neutron"])
    daemons.wait_ready(["keystone"])
    seeder = Seeder(layout)
    seeder.seed_identity()
    daemons.start(["nova"])
    daemons.wait_ready(["glance", "neutron", "nova"])
    seeder.seed_resources()
    return seeder.list_ids()


def _set_image_dates(layout: Layout) -> None:
    with closing(sqlite3.connect(layout.databases / "glance.sqlite")) as database, database:
        for name, date in IMAGES.items():
            database.execute("update images set created_at = ? where name = ?", (date, name))


def _copy_databases(source: Path, target: Path, journal: str) -> None:
    for path in source.glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(target / path.name)) as new:
            old.backup(new)
            new.execute(f"pragma journal_mode={journal}")


def restore(golden: Path, layout: Layout, volumes: bool) -> None:
    """Copy the golden databases into a cloud's directory, as its own."""
    _copy_databases(golden, layout.databases, "wal")
    images = layout.state / COPIED_STATE
    shutil.copytree(golden / COPIED_STATE, images, dirs_exist_ok=True, copy_function=shutil.copyfile)
    content = json.loads((golden / "complete.json").read_text())
    front, back = content["ports"]
    old = Layout(Path(content["directory"]), layout.environment, Ports(front, back, 0), layout.secrets)
    mapping = {str(old.directory): str(layout.directory)}
    for name in APIS:
        mapping[old.ports.url(name)] = layout.ports.url(name)
        mapping[old.ports.back_url(name)] = layout.ports.back_url(name)
    mapping |= {one: _make_id_like(one) for one in content["ids"] if one != "default"}
    for path in layout.databases.glob("*.sqlite"):
        replace_strings(path, mapping)
    _rename_images(layout, mapping)
    _make_own(layout, volumes)


def _make_id_like(old: str) -> str:
    new = uuid.uuid4()
    return str(new) if "-" in old else new.hex


def replace_strings(path: Path, mapping: Mapping[str, str]) -> None:
    """Replace strings, also within longer ones, in all texts of a database."""
    pattern = re.compile("|".join(re.escape(one) for one in sorted(mapping, key=len, reverse=True)))

    def renew(value: Any) -> Any:
        return pattern.sub(lambda match: mapping[match[0]], value) if isinstance(value, str) else value

    with closing(sqlite3.connect(path)) as database, database:
        database.create_function("renew", 1, renew, deterministic=True)
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            rows = list(database.execute(f'pragma table_info("{table}")'))
            columns = [row[1] for row in rows if "INT" not in row[2] and "TIME" not in row[2]]
            if columns:
                changes = ", ".join(f'"{column}" = renew("{column}")' for column in columns)
                database.execute(f'update "{table}" set {changes}')  # noqa: S608 the names are the database's own


def _rename_images(layout: Layout, mapping: Mapping[str, str]) -> None:
    for path in (layout.state / COPIED_STATE).iterdir():
        path.rename(path.with_name(mapping[path.name]))


def _make_own(layout: Layout, volumes: bool) -> None:
    """Give keystone's database the cloud's names and passwords."""
    names = {TENANT: layout.project, NEIGHBOUR: layout.neighbour}
    passwords = {"admin": layout.secrets.admin, TENANT: layout.secrets.tenant, NEIGHBOUR: layout.secrets.neighbour}
    with closing(sqlite3.connect(layout.databases / "keystone.sqlite")) as database, database:
        for name, local_user in list(database.execute("select name, id from local_user")):
            hashed = hash_password(passwords.get(name, layout.secrets.service))
            database.execute("update password set password_hash = ? where local_user_id = ?", (hashed, local_user))
        for old, new in names.items():
            database.execute("update project set name = ? where name = ?", (new, old))
            database.execute("update local_user set name = ? where name = ?", (new, old))
        if not volumes:
            database.execute("update service set enabled = 0 where type = ?", (APIS["cinder"],))


def hash_password(password: str) -> str:
    """Hash a password in the form that passlib's pbkdf2_sha512 has and keystone reads."""
    salt = os.urandom(16)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASH_ROUNDS)
    words = [base64.b64encode(part).decode().rstrip("=").replace("+", ".") for part in (salt, digest)]
    return f"$pbkdf2-sha512${HASH_ROUNDS}${words[0]}${words[1]}"
