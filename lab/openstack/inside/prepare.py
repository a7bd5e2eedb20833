# mypy: disable-error-code="import-not-found"
"""Creates the schemas of nova's or neutron's databases; the argument is the service's name."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from lab.openstack import layout as layouts


def prepare_nova(layout: layouts.Layout) -> None:
    """Create the databases of the API and of two cells, and map the cells. One process costs a third of four."""
    from nova import monkey_patch

    monkey_patch.patch(backend="threading")
    from nova import config, objects
    from nova.cmd import manage
    from nova.db import migration

    config.parse_args(["nova-manage", "--config-file", str(layout.settings / "nova" / "nova.conf")])
    objects.register_all()
    migration.db_sync(database="api")
    migration.db_sync(database="main")
    shutil.copy(layout.databases / "nova_cell1.sqlite", layout.databases / "nova_cell0.sqlite")
    cells = manage.CellV2Commands()
    cells.map_cell0(database_connection=layout.database_url("nova_cell0"))
    cells.create_cell(name="cell1")


def prepare_neutron(layout: layouts.Layout) -> None:
    """Create the schema from the models: neutron's migrations are not for SQLite."""
    from alembic import command
    from neutron.common import config
    from neutron.db.migration import cli
    from neutron.db.migration.models import head  # noqa: F401 loads all models
    from neutron_lib.db import api, model_base
    from oslo_config import cfg

    config.register_common_config_options()
    config.init(["--config-file", str(layout.settings / "neutron" / "neutron.conf")])
    model_base.BASEV2.metadata.create_all(api.get_writer_session().get_bind())
    for migrations in cli.get_alembic_configs():
        migrations.neutron_config = cfg.CONF
        command.stamp(migrations, "heads")


if __name__ == "__main__":
    record = layouts.load(Path(os.environ["EHOSLITE_LAB_RECORD"]).parent)
    {"nova": prepare_nova, "neutron": prepare_neutron}[sys.argv[1]](record)
