"""The console script `kubectl-podium`, which kubectl runs as `kubectl podium`."""

import signal
import sys
from typing import Any

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; that of a command that was refused is another."""


def main() -> None:
    """Run it; without its packages, say which one is missing."""
    signal.signal(signal.SIGINT, _interrupted)
    try:
        from podium.cli.app import run
    except ModuleNotFoundError as error:
        print(f"kubectl podium needs the package {error.name}: pip install 'podium[cli]'", file=sys.stderr)
        sys.exit(3)
    sys.exit(run())


def _interrupted(number: int, frame: Any) -> None:
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
