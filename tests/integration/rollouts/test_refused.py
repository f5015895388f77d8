"""Whatever write is refused, once or for a while: status says what was written, what serves is made again, same end.

Every write of every scenario is refused with 403, and a third of them in each of the other ways. Which third follows
from the commit's hash or from PODIUM_REFUSALS_SEED, which is printed; `make test-refusals` refuses all in every way. A
run is refused every third of its writes. Passes that fall together after a refusal make fewer writes than the
undisturbed run; the numbers that are then reached by no run are printed.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
import pytest_asyncio

from tests.integration.proxy import writes
from tests.integration.rollouts.api import Object
from tests.integration.rollouts.dump import dump
from tests.integration.rollouts.nursery import Nursery
from tests.integration.rollouts.played import QUIET, all_well, until_same
from tests.integration.rollouts.refusing import (
    APART,
    FAULTS,
    OTHERS,
    Chosen,
    Refusing,
    Shared,
    chosen,
    seed,
    what_serves_is_made_again,
)
from tests.integration.rollouts.scenarios import BY_NAME, SCENARIOS, run
from tests.integration.rollouts.stage import Cluster

AT_ONCE: Final = 32
"""Most of the time of a run is that of its refusals."""
FEWER: Final = 0.1
OTHERS_FEWER: Final = 0.35
"""Share of an undisturbed run's writes that no run with refusals need make; more where one third alone is played."""
EVERY: Final = bool(os.environ.get("PODIUM_REFUSALS"))
WAYS: Final = {"403": ("403",), **({way: (way,) for way in OTHERS} if EVERY else {"a third of the others": OTHERS})}
"""Played at once, by name."""

Ends = dict[str, tuple[int, Object]]
"""By scenario: how many writes it takes, and what it leaves behind when nothing is refused."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ends(cluster: Cluster, nursery: Nursery) -> AsyncIterator[Ends]:
    """Every scenario undisturbed."""
    found: Ends = {}

    async def play(shared: Shared, name: str) -> None:
        stage = await shared.stage(f"allowed-{name}")
        counting = Refusing(stage.namespace, writes, 1, 0, lasting=False)
        shared.proxy.fault(replace(FAULTS["conflict"], match=counting.judge))
        await run(BY_NAME[name], stage, partial(arm, counting))
        passed = -1
        while passed != counting.passed:
            passed = counting.passed
            await asyncio.sleep(QUIET)
        found[name] = passed, dump(stage)

    async with Shared(cluster, nursery, "allowed") as shared:
        await all_well({one.name: partial(play, shared, one.name) for one in SCENARIOS}, AT_ONCE)
    yield found


def test_every_third_of_each_other_way_has_its_turn() -> None:
    def runs_of(by: str, *, every: bool = False) -> set[str]:
        return {str(one) for way in OTHERS for one in chosen(tuple(BY_NAME), way, by, every=every)}

    runs, played = runs_of("any", every=True), [runs_of(f"{commit:012x}") for commit in range(50)]
    assert {len(some) for some in played} == {len(runs) // APART}
    assert set().union(*played) == runs


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
async def test_whichever_write_is_refused_the_rest_goes_on_and_the_end_is_the_same(
    cluster: Cluster, nursery: Nursery, ends: Ends, ways: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    by = seed()
    plays = [one for way in ways for one in chosen(tuple(BY_NAME), way, by, every=EVERY)]
    with capsys.disabled():
        print(f"\n  PODIUM_REFUSALS_SEED={by}: {'; '.join(str(one) for one in plays)}", end=" ", flush=True)
    runs: dict[Chosen, Refusing] = {}
    async with Shared(cluster, nursery, f"refused-{ways[0]}") as shared:
        await all_well({str(one): partial(refused, shared, one, ends[one.scenario], runs) for one in plays}, AT_ONCE)
    due, at = _numbers(ends, runs)
    unreached = {" ".join(one): sorted(due[one] - at[one]) for one in due if due[one] - at[one]}
    with capsys.disabled():
        hit = sum(len(one.at) for one in runs.values())
        print(f"({hit} refusals; no run made the writes {unreached or '-'})", end=" ", flush=True)
    for way in ways:
        total = sum(len(numbers) for (_, its_way), numbers in due.items() if its_way == way)
        fewer = total - sum(len(due[one] & at[one]) for one in due if one[1] == way)
        share = FEWER if way == "403" else OTHERS_FEWER
        assert fewer <= total * share, f"{way}: {fewer} of {total} writes were made by no run: {unreached}"
    missed = {str(one): left for one in runs if (left := _missed(one, ends[one.scenario][0], runs[one]))}
    assert not missed, f"writes that were made, and not refused: {missed}"


Numbers = dict[tuple[str, str], set[int]]
"""Which writes, by scenario and way."""


def _numbers(ends: Ends, runs: Mapping[Chosen, Refusing]) -> tuple[Numbers, Numbers]:
    """Which writes of the undisturbed run were to be refused, and which were."""
    due: Numbers = defaultdict(set)
    at: Numbers = defaultdict(set)
    for one, refusing in runs.items():
        due[one.scenario, one.way] |= set(range(one.first, ends[one.scenario][0] + 1, APART))
        at[one.scenario, one.way] |= set(refusing.at)
    return due, at


def _missed(one: Chosen, count: int, run: Refusing) -> list[int]:
    """Which writes of those that were due were made without having been refused, but for what went on meanwhile."""
    return sorted(set(range(one.first, min(count, run.passed) + 1, APART)) - set(run.at) - run.meanwhile)


async def refused(shared: Shared, one: Chosen, end: tuple[int, Object], runs: dict[Chosen, Refusing]) -> None:
    """Play a scenario while writes of it are refused; AssertionError if the end is another or a rule is broken."""
    stage = await shared.stage(f"refused-{one.scenario}")
    count, expected = end
    refusing = Refusing(stage.namespace, FAULTS[one.fault].match, one.first, count, lasting=one.lasting)
    shared.proxy.fault(replace(FAULTS[one.fault], match=refusing.judge))
    deleted: set[str] = set()
    wrong: list[str] = []

    async def meddle() -> None:
        while True:
            await refusing.begun()
            await refusing.tried_again()
            try:
                if not deleted:  # once a run: each deletion takes writes of its own
                    await what_serves_is_made_again(stage, refusing, deleted)
            except AssertionError as error:
                wrong.append(str(error))
            refusing.end()

    meddling = asyncio.create_task(meddle())
    try:
        await run(BY_NAME[one.scenario], stage, partial(arm, refusing))
        await until_same(stage, expected)
    except AssertionError as error:
        wrong.append(f"refused: {[f'{call.method} {call.path}' for call in refusing.refused]}\n{error}")
    finally:
        meddling.cancel()
    runs[one] = refusing
    await stage.world.caught_up(stage.namespace)
    wrong += stage.world.violations(stage.namespace, alone=not deleted, deleted=deleted)
    assert not wrong, "\n".join(wrong)


async def arm(refusing: Refusing) -> None:
    """From now on its writes are counted, and refused."""
    refusing.armed = True
