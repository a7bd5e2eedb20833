"""The options that say whose idle jobs start nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ehoslite.options import option


@dataclass(frozen=True)
class DemandSettings:
    """Whose idle jobs start nodes. The negotiator's own rules are not changed: jobs that do not count here start where
    there is room."""

    caps: Mapping[str, int] = option(
        "how many jobs of a user (who owns them, or to whom they are accounted) or accounting group (with its "
        "subgroups) count at a time, running ones included. What runs leaves is dealt out in equal parts to owners, "
        "and to the kinds of jobs of each; nothing while a schedd does not answer. While jobs wait that do not count, "
        "no spare node and no reserve is made, which they would take. 0: none of theirs start nodes",
        factory=dict,
        at_least=0,
        pattern_help="numbers by name",
    )
    negotiated_only: bool = option(
        "count only jobs that the negotiator has asked the schedd for, so none that came since its last cycle; while "
        "the pool has no slot it asks for none, and all jobs count. Not for a pool with NEGOTIATOR_CONSIDER_PREEMPTION "
        "= False: there it asks for none while all slots are taken",
        False,
    )
    factory_ahead: int = option(
        "of a late-materialised cluster the queue shows max_idle idle jobs at a time; so many times max_idle count "
        "beyond them, at most as many as it runs already and has left. 0: only what the queue shows",
        3,
        at_least=0,
    )
