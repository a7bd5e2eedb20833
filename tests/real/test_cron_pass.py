"""The shipped crontab, a real cron daemon and real passes: two fire, and the pool grows without anybody's hand."""

from __future__ import annotations

import sys
from pathlib import Path

from lab.cron_daemon import CronDaemon
from lab.stand import CHECKOUT
from tests.conftest import MakeStand
from tests.real.test_scaling import TINY

PROGRAM = "/usr/local/bin/reconcile"


def test_cron_fires_passes_that_make_the_nodes(make_stand: MakeStand, folder: Path) -> None:
    stand = make_stand(flavors=(TINY,), scaling={"idle_timeout": 600})
    stand.pool.submit(memory=200, seconds=600)
    crontab = (CHECKOUT / "cron" / "crontab").read_text()
    command = [sys.executable, str(CHECKOUT / "reconcile.py"), "-c", str(stand.config)]
    with CronDaemon(folder / "cron", crontab, PROGRAM, command) as cron:
        cron.wait_until(lambda: stand.passes() >= 2, 150, "two passes")
        assert cron.mails() == [], "a pass that is fine prints nothing"
    assert list(stand.nodes().values()) == ["active"]
