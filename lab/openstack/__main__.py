"""`python -m lab.openstack up|down|status DIRECTORY`: a cloud that outlives the command."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from lab.openstack.cloud import RunningCloud
from lab.openstack.lab import OpenStackLab, stop_directory


def bring_up(arguments: argparse.Namespace) -> int:
    """Start a cloud, unless the one in the directory is up."""
    if _is_up(arguments.directory):
        print(f"The cloud in {arguments.directory} is up already.")
        return 0
    lab = OpenStackLab(
        arguments.directory,
        name=arguments.name,
        guest_command=shlex.split(arguments.guest),
        volumes=arguments.volumes,
        keep=True,
    )
    lab.start()
    print(f"The cloud is up: export OS_CLIENT_CONFIG_FILE={lab.clouds_yaml} OS_CLOUD={lab.name}")
    return 0


def take_down(arguments: argparse.Namespace) -> int:
    """End all processes of the cloud."""
    stop_directory(arguments.directory)
    return 0


def tell_status(arguments: argparse.Namespace) -> int:
    """Say what runs; fail if not all does."""
    try:
        cloud = RunningCloud(arguments.directory).attach()
    except FileNotFoundError:
        print(f"No cloud was ever started in {arguments.directory}.")
        return 1
    running = cloud.daemons.find_running()
    for name, process in sorted(running.items()):
        print(f"{name:10} pid {process.pid}")
    print(f"{cloud.name} is {'up' if _is_up(arguments.directory) else 'down'}, {cloud.clouds_yaml}")
    return 0 if _is_up(arguments.directory) else 1


def _is_up(directory: Path) -> bool:
    try:
        running = RunningCloud(directory).attach().daemons.find_running()
    except FileNotFoundError:
        return False
    return {"front", "keystone", "glance", "neutron", "nova"} <= set(running)


def main(words: list[str]) -> int:
    """Carry out the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.openstack", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, action in (("up", bring_up), ("down", take_down), ("status", tell_status)):
        command = commands.add_parser(name, help=action.__doc__)
        command.add_argument("directory", type=Path)
        command.set_defaults(action=action)
        if name == "up":
            command.add_argument("--name", default="alpha", help="of the cloud and its project (default: %(default)s)")
            command.add_argument("--guest", default="", help="the guest program with its first arguments")
            command.add_argument("--volumes", action="store_true", help="with Cinder")
    arguments = parser.parse_args(words)
    return int(arguments.action(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
