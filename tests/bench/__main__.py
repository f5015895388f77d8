"""`make bench`: all figures, as one table at the end; a quarter of an hour of it is idling alone.

    python -m tests.bench [PART ...]

A part is a word of PARTS; none means all. Nothing else should run on the machine meanwhile. A part that fails says so
in the table, and the exit code is 1.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator

from tests.bench import (
    bench_analysing,
    bench_analysis,
    bench_arena,
    bench_argo_rollouts,
    bench_cluster,
    bench_floor,
    bench_idle,
    bench_images,
    bench_loop,
    bench_measuring,
    bench_operator,
    bench_resync,
    bench_rollouts,
    bench_router,
    bench_scale,
    bench_serving,
    bench_start,
    bench_two_cores,
    bench_where,
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
    "operator": settled_and_idle,
    "start": bench_start.figures,
    "where": bench_where.figures,
    "floor": bench_floor.figures,
    "resync": bench_resync.figures,
    "scale": bench_scale.figures,
    "argo-rollouts": bench_argo_rollouts.figures,
    "rollouts": bench_rollouts.figures,
    "server": bench_serving.figures,
    "two-cores": bench_two_cores.figures,
    "arena": bench_arena.figures,
    "router": bench_router.figures,
    "event-loop": bench_loop.figures,
    "images": bench_images.figures,
    "cluster": bench_cluster.figures,
    "analysis": bench_analysis.figures,
    "measuring": bench_measuring.figures,
    "analysing": bench_analysing.figures,
}


def main(asked: list[str]) -> int:
    """All parts, or those asked for, whatever becomes of them, and the table."""
    if unknown := set(asked) - set(PARTS):
        say(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        return 2
    say(f"load average before the start: {os.getloadavg()[0]:.1f}")
    rows: list[Row] = []
    failed = False
    for name in asked or PARTS:
        figures = PARTS[name]
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
    sys.exit(main(sys.argv[1:]))
