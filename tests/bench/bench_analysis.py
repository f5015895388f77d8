"""What thousands of simulated rollouts come to under the kernel, beside what is promised (docs/architecture.md).

    python -m tests.bench.bench_analysis [RUNS]        4,000 rollouts of each world, some minutes on one core

Exits with 1 where a promise is not kept.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from podium.analysis.expect import Traffic, units_to_promotion
from podium.analysis.metrics import Kind
from podium.analysis.plan import Metric, Plan, metric
from podium.analysis.restarts import Start
from podium.analysis.state import begun
from tests.analysis import worlds
from tests.analysis.rollouts import Result, World, looks, rates, simulate
from tests.analysis.twin import Rows
from tests.analysis.worlds import ONE, RESTARTS, TIMED, constant, errors, four, guardrails
from tests.bench.table import Row, show

RUNS = 4000
SEED = 20


@dataclass(frozen=True)
class Promise:
    """A figure and its bound; `kept` is None where nothing is promised."""

    row: Row
    kept: bool | None = None


def spread(values: Rows) -> str:
    """Mean and 90th percentile of the candidate's requests until the decision."""
    return f"{np.mean(values):,.0f} (p90 {np.percentile(values, 90):,.0f})" if len(values) else "-"


def told(what: str, result: Result, aim: str, kept: bool | None) -> Promise:
    """One line on a world."""
    parts = [f"promoted {result.up:.1%}"]
    if len(result.promoted):
        parts.append(f"after {spread(result.promoted)}")
    parts.append(f"rolled back {result.back:.1%}")
    if len(result.rolled_back):
        parts.append(f"after {spread(result.rolled_back)}")
    verdict = "" if kept is None else " - kept" if kept else " - NOT KEPT"
    return Promise(Row(what, " ".join(parts), aim + verdict), kept)


def false_rollbacks(runs: int) -> Iterator[Promise]:
    """A candidate that is the same model, never promoted so that harm may be found for as long as it lasts."""
    kinds: dict[str, Callable[[float], World]] = {
        "constant": lambda base: constant(base, base),
        "ramp, drifting base": worlds.ramping,
        "20 s at 5 %, or 3 times the rate, in both": lambda base: worlds.incident(base, 20),
        "60 s at 5 %, or 3 times the rate, in both": lambda base: worlds.incident(base, 60),
        "120 s at 5 %, or 3 times the rate, in both": lambda base: worlds.incident(base, 120),
        "bursts in both": worlds.bursting,
    }
    for name, world in kinds.items():
        for base in worlds.BASES:
            listed = RESTARTS if name.startswith("ramp") else TIMED
            result = simulate(world(base), [errors(base)], runs, SEED, starts=listed, promote=False)
            yield told(f"A/A {base:.2%}, {name}", result, "<= 5 % rolled back", result.back <= 0.05)
    for candidate, champion in ((1, 4), (4, 4)):
        world = worlds.uneven(candidate, champion, runs, SEED)
        result = simulate(world, [worlds.latency()], runs, SEED, starts=TIMED, promote=False)
        yield told(f"A/A latency, {champion} + {candidate} pods that differ", result, "<= 5 %", result.back <= 0.05)


def tolerance_table(runs: int) -> Iterator[Promise]:
    """One metric, q .1 %, 50 and 150 requests a look, 400 looks, without restarts."""
    table: tuple[tuple[float, float, str, Callable[[Result], bool] | None], ...] = (
        (0.0, 0.0, "100 % promoted, after 4,700", lambda r: r.up >= 0.999 and np.mean(r.promoted) <= 4900),
        (0.0001, 0.0001, "100 % promoted, after 6,200", lambda r: r.up >= 0.99 and np.mean(r.promoted) <= 6600),
        (0.0002, 0.001, "2.1 % promoted, 1.7 % rolled back", lambda r: r.up <= 0.05 and r.back <= 0.05),
        (0.0, 0.001, "2.1 % promoted, 1.7 % rolled back", lambda r: r.up <= 0.05 and r.back <= 0.05),
        (0.001, 0.0015, ".5 % promoted, 20 % rolled back after 11,000", lambda r: r.up <= 0.05),
        (0.0001, 0.005, "100 % rolled back, after 1,630", lambda r: r.back >= 0.99 and np.mean(r.rolled_back) <= 1800),
        (0.0, 0.01, "100 % rolled back, after 630", lambda r: r.back >= 0.99 and np.mean(r.rolled_back) <= 700),
        (0.01, 0.01, "96.8 % promoted, after 6,300; 2.7 % rolled back", lambda r: r.back <= 0.05),
        (0.01, 0.015, "1.4-2 % promoted; 98 % rolled back after 4,750", lambda r: r.up <= 0.05),
        (0.01, 0.02, "100 % rolled back, after 1,500", lambda r: r.back >= 0.99 and np.mean(r.rolled_back) <= 1650),
    )
    for champion, candidate, aim, kept in table:
        result = simulate(constant(champion, candidate), [errors(champion)], runs, SEED)
        name = f"{champion:.2%} -> {candidate:.2%}"
        yield told(name, result, aim, kept(result) if kept else None)
    result = simulate(constant(0.0001, 0.0001), [errors(0.0001)], runs, SEED, starts=TIMED)
    yield told(".01% -> .01%, restarts", result, "promoted after 6,900", result.up >= 0.99)
    for listed, aim in ((ONE, "19 % promoted"), (TIMED, ">= 99 % promoted, after 8,800")):
        result = simulate(worlds.incident(0.0001, 20, begins=40), [errors(0.0001)], runs, SEED, starts=listed)
        kept = result.back <= 0.05 and (listed is ONE or result.up >= 0.985)
        what = "restarts" if listed is TIMED else "no restarts"
        yield told(f".01% -> .01%, 20 s at 5 % in both, {what}", result, f"{aim}, <= 4.4 % rolled back", kept)


def unusual(runs: int) -> Iterator[Promise]:
    """A worse candidate, and an incident that hits both arms alike."""
    for seconds, high, begins in ((20, 0.2, 100), (20, 0.5, 10), (60, 0.2, 100), (120, 0.2, 60)):
        world = worlds.incident(0.01, seconds, high, begins, candidate=0.015)
        result = simulate(world, [errors(0.01)], runs, SEED, starts=TIMED)
        yield told(f"1% -> 1.5%, {seconds} s at {high:.0%} in both", result, "<= 5 % promoted", result.up <= 0.05)


def joint(runs: int) -> Iterator[Promise]:
    """Four guardrails, restarts: the defaults."""
    healthy = (
        ("no errors, 6 % slow", (0.0, 0.0, 0.0, 0.06), 5700),
        ("no errors, 3 % slow", (0.0, 0.0, 0.0, 0.03), 5700),
        ("no errors, none slow", (0.0, 0.0, 0.0, 0.0), 5700),
        ("no errors, 1 % slow", (0.0, 0.0, 0.0, 0.01), 8800),
        ("1 % errors, 1 % 4xx", (0.01, 0.01, 0.0, 0.05), 9500),
    )
    for name, base, most in healthy:
        metrics = guardrails(*base)
        result = simulate(World(looks(400, 50, 150), four(base, base)), metrics, runs, SEED, starts=TIMED)
        mean = np.mean(result.promoted)
        plan = Plan(0.0, metrics, TIMED)
        expected = units_to_promotion(plan, begun(plan), Traffic(75.0, 25.0))
        aim = f"promoted after <= {most:,} (expected beforehand {expected:,.0f})"
        yield told(f"defaults, {name}", result, aim, bool(mean <= most and result.back <= 0.05))
    base, hanging = (0.0, 0.0, 0.0, 0.05), (0.0, 0.0, 0.3, 0.05)
    world = World(looks(400, 50, 150), four(hanging, base))
    result = simulate(world, guardrails(*base), runs, SEED, starts=TIMED)
    yield told("defaults, 30 % hang until given up", result, "100 % rolled back", result.back == 1)
    base = (0.0, 0.0, 0.0, 0.05)
    for slow, aim in ((0.075, "<= 5 % promoted"), (0.1, ">= 99 % rolled back"), (0.15, ">= 99 % rolled back")):
        world = World(looks(400, 50, 150), four((0.0, 0.0, 0.0, slow), base))
        result = simulate(world, guardrails(*base), runs, SEED, starts=TIMED)
        kept = result.up <= 0.05 if slow == 0.075 else result.back >= 0.99
        yield told(f"defaults, 5 % slow -> {slow:.1%} slow", result, aim, kept)


def reach(runs: int) -> Iterator[Promise]:
    """What it must reach: 100 looks of 100 requests per arm."""

    def found(metrics: tuple[Metric, ...], world: World, listed: tuple[Start, ...]) -> Result:
        return simulate(world, metrics, runs, SEED, starts=listed)

    for base in (0.001, 0.005, 0.01, 0.05):
        result = found((errors(base),), constant(base, base, count=100, n1=100, n0=100), ONE)
        yield told(f"100 x 100, A/A {base:.1%}", result, "<= 5 % rolled back", result.back <= 0.05)
    result = found((errors(0.01),), constant(0.01, 0.015, count=100, n1=100, n0=100), ONE)
    yield told("100 x 100, 1 -> 1.5 %", result, "<= 5 % promoted", result.up <= 0.05)
    result = found((errors(0.01),), constant(0.01, 0.02, count=100, n1=100, n0=100), ONE)
    kept = bool(result.back >= 0.99 and np.mean(result.rolled_back) <= 2300)
    yield told("100 x 100, 1 -> 2 %, one metric", result, ">= 99 % found, <= 2,300", kept)
    base, worse = (0.01, 0.0, 0.0, 0.05), (0.02, 0.0, 0.0, 0.05)
    world = World(looks(100, 100, 100), four(worse, base))
    result = found(guardrails(*base), world, TIMED)
    kept = bool(result.back >= 0.99 and np.mean(result.rolled_back) <= 3700)
    yield told("100 x 100, 1 -> 2 %, defaults", result, ">= 99 % found, <= 3,700", kept)
    result = found(guardrails(*base), World(looks(400, 50, 150), four((0.015, 0.0, 0.0, 0.05), base)), TIMED)
    yield told("defaults, 1 -> 1.5 %", result, "<= 5 % promoted", result.up <= 0.05)


def odds_form(runs: int) -> Iterator[Promise]:
    """A goal at a high rate: accuracy."""
    accuracy = metric("errors", Kind.ACCURACY, champion=(worlds.FROZEN, 0.2 * worlds.FROZEN))
    world = World(looks(200, 50, 150), {"errors": rates(0.3, 0.2)})
    result = simulate(world, [accuracy], runs, SEED)
    yield told("20 -> 30 % wrong, odds form", result, "<= 5 % promoted", result.up <= 0.05)
    world = World(looks(200, 50, 150), {"errors": rates(0.2, 0.2)})
    result = simulate(world, [accuracy], runs, SEED)
    yield told("20 -> 20 % wrong, odds form", result, "<= 5 % rolled back", result.back <= 0.05)


def others(runs: int) -> Iterator[Promise]:
    """Rules that are looked at as often and do not allow for it, on a candidate that is the same model."""
    random = np.random.default_rng(SEED)
    bases = (0.001, 0.005, 0.01, 0.05)
    shares: dict[str, list[str]] = {"5 checks of 100 failed": [], "1 check of 10 failed": [], "z at each look": []}
    for base in bases:
        candidate, champion = (random.binomial(100, base, (runs, 100)) for _ in range(2))
        failed = candidate > 1  # a success rate below 99 %
        pooled = np.cumsum(candidate + champion, axis=1) / (200 * np.arange(1, 101))
        spread_ = np.sqrt(np.maximum(2 * pooled * (1 - pooled), 1e-12) * 100 * np.arange(1, 101))
        z = np.cumsum(candidate - champion, axis=1) / spread_
        shares["5 checks of 100 failed"].append(f"{np.mean(failed.sum(axis=1) >= 5):.1%}")
        shares["1 check of 10 failed"].append(f"{np.mean(failed[:, :10].any(axis=1)):.1%}")
        shares["z at each look"].append(f"{np.mean((z > 1.645).any(axis=1)):.1%}")
    listed = ", ".join(f"{base:.1%}" for base in bases)
    for name, rolled_back in shares.items():
        yield Promise(Row(f"other rules, A/A: {name}", f"rolled back {', '.join(rolled_back)} at {listed}", ""))


PARTS = (false_rollbacks, tolerance_table, unusual, joint, reach, odds_form, others)


def promises(runs: int = RUNS) -> Iterator[Promise]:
    """All of them."""
    for part in PARTS:
        yield from part(runs)


def figures() -> Iterator[Row]:
    """For the table of all benchmarks."""
    for promise in promises():
        yield promise.row


if __name__ == "__main__":
    found = list(promises(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))
    show([promise.row for promise in found])
    sys.exit(any(promise.kept is False for promise in found))
