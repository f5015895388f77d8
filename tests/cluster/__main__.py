"""The command line: python -m tests.cluster COMMAND."""

import argparse
import sys

from tests.cluster.progress import ClusterError, say


def tools(arguments: argparse.Namespace) -> None:
    """Builds, unpacks or installs every program a cluster needs, and prints where it is."""
    from tests.cluster import binaries

    for name, path in binaries.everything().items():
        print(f"{name:12} {path}")


def images(arguments: argparse.Namespace) -> None:
    """Builds the container images that changed, and prints where their archives are."""
    from tests.cluster import images

    for archive in images.build(arguments.names):
        print(f"{archive.image.reference:36} {archive.path.stat().st_size / 1e6:6.0f} MB  {archive.path}")


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parsers = {}
    for command in (tools, images):
        sub = commands.add_parser(command.__name__, help=(command.__doc__ or "").strip())
        sub.set_defaults(command=command)
        parsers[command.__name__] = sub
    parsers["images"].add_argument("names", nargs="*", metavar="IMAGE", help="only these (all, if none is named)")
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
