"""`make bench`: all figures, as one table at the end. `python -m tests.bench`; a quarter of an hour is idling alone.

Nothing else should run on the machine meanwhile. A part that fails says so in the table, and the exit code is 1.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator

from tests.bench import (
    bench_cluster,
    bench_idle,
    bench_images,
    bench_loop,
    bench_operator,
    bench_rollouts,
    bench_serving,
)
from tests.bench.rig import rig
from tests.bench.table import Row, show
from tests.cluster.progress import say, step


def settled_and_idle() -> Iterator[Row]:
    """Create, update, and leave alone: the same 1,000 objects."""
    with rig(*bench_idle.flags()) as bench:
        yield from bench_operator.create(bench)
        yield from bench_operator.update(bench)
        yield from bench_idle.measure(bench)


PARTS: dict[str, Callable[[], Iterable[Row]]] = {
    "ModelDeployments without pods": settled_and_idle,
    "rollouts": bench_rollouts.figures,
    "server": bench_serving.figures,
    "event loop": bench_loop.figures,
    "images": bench_images.figures,
    "starts on a cluster": bench_cluster.figures,
}


def main() -> int:
    """All parts, whatever becomes of them, and the table."""
    say(f"load average before the start: {os.getloadavg()[0]:.1f}")
    rows: list[Row] = []
    failed = False
    for name, figures in PARTS.items():
        try:
            with step(f"Measuring: {name}"):
                rows.extend(figures())
        except Exception as error:
            # The others' figures are wanted all the same: they took long enough.
            traceback.print_exc()
            rows.append(Row(name, f"failed: {str(error)[:100]}"))
            failed = True
    show(rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
