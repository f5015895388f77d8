"""The console script `kubectl-podium`, which kubectl runs as `kubectl podium`."""

import sys


def main() -> None:
    """Run it; without its packages, say which one is missing."""
    try:
        from podium.cli.app import run
    except ModuleNotFoundError as error:
        print(f"kubectl podium needs the package {error.name}: pip install 'podium[cli]'", file=sys.stderr)
        sys.exit(3)
    sys.exit(run())


if __name__ == "__main__":
    main()
