"""The simulations' arrays compute what the kernel computes."""

import numpy as np
import pytest

from podium.analysis.metrics import Kind
from podium.analysis.plan import Metric, Role, metric
from podium.analysis.restarts import Start
from podium.analysis.state import begun, fold, log_better, log_harm
from tests.analysis.twin import Twin
from tests.unit.analysis.given import interval, plan

METRICS = {
    "a ratio beside a tolerated rate": metric("m", Kind.PROMETHEUS, tolerate=0.01),
    "a ratio alone": metric("m", Kind.PROMETHEUS, tolerate=0, harm_ratio=1.2),
    "latency": metric("m", Kind.LATENCY, edge=0.1),
    "odds": metric("m", Kind.PROMETHEUS, tolerate=0.1, champion=(10_000, 2000)),
    "a goal": metric("m", Kind.PROMETHEUS, role=Role.GOAL, tolerate=0.01),
}
STARTS = (Start(step=0), Start(step=1), Start(after=400.0), Start(after=1e6))


@pytest.mark.parametrize("of", METRICS.values(), ids=METRICS.keys())
def test_the_twin_equals_the_kernel_on_random_counts(of: Metric) -> None:
    random, runs = np.random.default_rng(11), 3
    units, events = (name.format(name="m") for name in (*of.type.units, *of.type.events))
    made = plan(of, starts=STARTS)
    states, twin, block = [begun(made)] * runs, Twin(of, len(STARTS), runs), None
    for k in range(60):
        step, after = int(k >= 25), 20.0 * k
        n1, n0 = (50, 150) if of.odds else (random.integers(20, 80), random.integers(100, 200))
        rate = random.choice([0.0, 0.02, 0.2])
        s1, s0 = random.binomial(n1, rate, runs), random.binomial(n0, rate, runs)
        if block is not None and block != (k // 10, step):
            twin.end_block()
        block = (k // 10, step)
        for place, due in enumerate((k == 0, k == 25, k == 20, False)):
            if due:
                twin.restart(place)
        twin.add(n1, s1.astype(float), n0, s0.astype(float))
        for run in range(runs):
            counted = {units: (int(n0), int(n1)), events: (int(s0[run]), int(s1[run]))}
            states[run] = fold(made, states[run], interval(after, counted=counted, step=step))
        assert twin.log_harm() == pytest.approx([log_harm(state, of) for state in states], abs=1e-8)
        assert twin.log_better() == pytest.approx([log_better(state, of) for state in states], abs=1e-8)
