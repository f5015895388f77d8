"""The command line: python -m tests.cluster COMMAND."""

import argparse
import sys

from tests.cluster.progress import ClusterError, say


def tools(arguments: argparse.Namespace) -> None:
    """Builds, unpacks or installs every program a cluster needs, and prints where it is."""
    from tests.cluster import binaries

    for name, path in binaries.everything().items():
        print(f"{name:12} {path}")


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (tools,):
        sub = commands.add_parser(command.__name__, help=(command.__doc__ or "").strip())
        sub.set_defaults(command=command)
    arguments = parser.parse_args()
    try:
        arguments.command(arguments)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
