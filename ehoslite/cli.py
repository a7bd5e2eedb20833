"""`ehoslite VERB`: the operator's door. Each verb imports what it needs on use."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ehoslite import __version__
from ehoslite.errors import EXIT_FINE, EhosError


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one verb; gives the exit code (docs/operating.md lists them)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["reconcile"]:
        import reconcile

        return reconcile.main(words[1:])
    options = _parser().parse_args(words)
    from ehoslite import report

    report.start_log(0)
    try:
        code = int(options.do(options))
        sys.stdout.flush()
    except BrokenPipeError:  # `ehoslite config sample | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINE
    except EhosError as error:
        return report.fail(error, as_json=getattr(options, "json", False))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ehoslite", description="Grow and shrink an HTCondor pool with its queue.")
    parser.add_argument("--version", action="version", version=f"ehoslite {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    verbs.add_parser("reconcile", help="run one pass (the same as the command reconcile)", add_help=False)
    status = verbs.add_parser("status", help="nodes, demand and the last passes")
    status.add_argument("-c", "--config", type=Path, metavar="FILE")
    status.add_argument("--json", action="store_true", help="as JSON (docs/json.md)")
    status.add_argument("--passes", type=int, default=10, metavar="N", help="show the last N passes (default 10)")
    status.set_defaults(do=show_status)
    why = verbs.add_parser(
        "why", help="why a job waits, which jobs get no node, what becomes of a node"
    ).add_subparsers(metavar="WHAT", required=True)
    job = why.add_parser("job", help="where a job fits, where not and why, and what it waits for")
    job.add_argument("-c", "--config", type=Path, metavar="FILE")
    job.add_argument("--schedd", default="", metavar="NAME", help="the schedd that has it (default: any)")
    job.add_argument("id", metavar="CLUSTER[.PROC]")
    job.set_defaults(do=explain_job)
    unserved = why.add_parser("not", help="the idle jobs that get no node now, and why")
    unserved.add_argument("-c", "--config", type=Path, metavar="FILE")
    unserved.set_defaults(do=explain_unserved)
    node = why.add_parser("node", help="the state of a node, what the next pass would do with it, and what passes did")
    node.add_argument("-c", "--config", type=Path, metavar="FILE")
    node.add_argument("name", metavar="NAME", help="its id or the end of it, its Machine, a slot or its server's id")
    node.set_defaults(do=explain_node)
    config = verbs.add_parser("config", help="check the configuration, or print a sample").add_subparsers(
        metavar="VERB", required=True
    )
    check = config.add_parser("check", help="say every fault of the configuration and its templates")
    check.add_argument("-c", "--config", type=Path, metavar="FILE")
    check.set_defaults(do=check_config)
    config.add_parser("sample", help="print a commented configuration").set_defaults(do=print_sample)
    cloud = verbs.add_parser("cloud", help="try out the clouds of the configuration").add_subparsers(
        metavar="VERB", required=True
    )
    look = cloud.add_parser("check", help="say what a node will miss in the clouds; change nothing")
    look.add_argument("-c", "--config", type=Path, metavar="FILE")
    look.add_argument("--json", action="store_true", help="as JSON (docs/json.md)")
    look.add_argument("names", nargs="*", metavar="NAME", help="check these clouds only (default: all)")
    look.set_defaults(do=check_clouds)
    return parser


def explain_job(options: argparse.Namespace) -> int:
    """Say of a job where it fits and what it waits for, by a dry run; change nothing."""
    from ehoslite import why
    from ehoslite.config import find, load

    return why.tell_job(load(find(options.config)), time.time(), options.id, options.schedd)


def explain_unserved(options: argparse.Namespace) -> int:
    """Say which idle jobs get no node, by a dry run; change nothing."""
    from ehoslite import why
    from ehoslite.config import find, load

    return why.tell_unserved(load(find(options.config)), time.time())


def explain_node(options: argparse.Namespace) -> int:
    """Say of a node in which state it is and what happens to it, by a dry run; change nothing."""
    from ehoslite import why_node
    from ehoslite.config import find, load

    return why_node.tell_node(load(find(options.config)), time.time(), options.name)


def check_clouds(options: argparse.Namespace) -> int:
    """Ask the clouds for all that a node will need there; gives 1 when something is missing."""
    from ehoslite.clouds import check
    from ehoslite.config import find, load
    from ehoslite.report import SCHEMA, printable

    findings = check.check(load(find(options.config)), options.names)
    if options.json:
        return check.tell_json(findings, SCHEMA, print)
    return check.tell(findings, lambda line: print(printable(line), flush=True), tick=check.shows_ticks())


def check_config(options: argparse.Namespace) -> int:
    """Load the configuration as a pass would; say that it is good, or every fault."""
    from ehoslite.config import find, load

    path = find(options.config)
    settings = load(path)
    print(f"{path}: good; pool {settings.pool}, clouds {', '.join(settings.clouds)}")
    return EXIT_FINE


def print_sample(_options: argparse.Namespace) -> int:
    """Print a configuration to start from."""
    from ehoslite.sampling import sample

    print(sample(), end="")
    return EXIT_FINE


def show_status(options: argparse.Namespace) -> int:
    """Look at the pool and the clouds, as a pass does, and at the history; change nothing."""
    from ehoslite import status
    from ehoslite.clouds import open_clouds
    from ehoslite.config import find, load
    from ehoslite.deadline import Deadline
    from ehoslite.observe import observe
    from ehoslite.pool import Pool
    from ehoslite.record import Record

    settings, now = load(find(options.config)), time.time()
    record = Record(settings.record, now, keep=False)
    with Deadline(settings.deadline) as deadline:
        pool = Pool(settings.condor, deadline.remaining, settings.demand)
        clouds = open_clouds(settings, deadline.remaining)
        world = observe(pool, clouds, record.memory(), now)
    return status.show(world, record, settings, passes=options.passes, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
