"""Metrics of type Prometheus against a real one: what it answers, what is counted from that, and its outages."""

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podium.analysing import Analyst
from podium.analysis.decision import Call, Circumstances, decide
from podium.analysis.metrics import Kind
from podium.metrics import queried
from podium.metrics.access import Access
from podium.metrics.prometheus import Prometheus
from podium.metrics.queried import Level, Look, Queried
from podium.metrics.scraper import Ask, Round
from podium.rollout.asked import Asked
from podium.rollout.measuring import Findings
from podium.rollout.wish import Wish
from tests.integration.queried.rig import NAMESPACE, POLL, SCRAPED, SECONDS, Stack
from tests.unit.test_analysing import ERRORS, KEY, TASK, Routers, Woken
from tests.until import until

SETTLED = 0.0
"""Seconds that a look is in the past: what it is to see, these tests have seen Prometheus have."""
EVENTS = 'sum(failed_total{namespace="{{namespace}}",pod=~"{{revision}}-.*"})'
TOTAL = EVENTS.replace("failed", "all")
WISH = Wish("checkout", Kind.PROMETHEUS, 1.5, 1.0, 0.0, events=EVENTS, total=TOTAL)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("prometheus"))
    with stack.running("old-1", "old-2", "new-1"):
        yield stack


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """With pods that have counted nothing, but that they are there."""
    for pod in shared.pods.values():
        pod.failed, pod.total, pod.up = 0, 0, True
    shared.until_scraped("sum(all_total)", "0")
    shared.until_scraped("count(all_total)", "3")
    return shared


async def looked(access: Access, *wishes: Wish) -> Look:
    source = Prometheus(access, settled=SETTLED)
    try:
        return await source.look(wishes or (WISH,), NAMESPACE, "old", "new")
    finally:
        source.close()


async def scraped(stack: Stack, total: int) -> Look:
    """A look at an instant at which all pods' totals were that much together."""
    await asyncio.to_thread(stack.until_scraped, "sum(all_total)", str(total))
    end = time.monotonic() + SECONDS
    # Prometheus may have failed to scrape a pod since then, on a slow machine.
    while _total(found := await looked(stack.access)) != total:
        assert time.monotonic() < end, found
        await asyncio.sleep(POLL)
    return found


def _total(look: Look) -> float:
    levels = (*look.champion.values(), *look.candidate.values())
    return sum(level.total for level in levels if isinstance(level, Level))


async def test_counts_come_through_tls_and_a_token(stack: Stack) -> None:
    stack.pods["old-1"].failed, stack.pods["old-1"].total = 3, 1_000
    stack.pods["old-2"].failed, stack.pods["old-2"].total = 1, 500
    stack.pods["new-1"].failed, stack.pods["new-1"].total = 2, 150
    found = await scraped(stack, 1_650)
    assert found.champion == {"checkout": Level(4, 1_500)}
    assert found.candidate == {"checkout": Level(2, 150)}


async def test_what_is_counted_is_what_the_pods_counted_and_a_failed_scrape_counts_nothing_twice(stack: Stack) -> None:
    old, new = (stack.pods["old-1"], stack.pods["old-2"]), stack.pods["new-1"]
    state, counted = Queried(), [(0.0, 0.0)] * 2

    async def look(total: int) -> None:
        nonlocal state
        state, weighed, _ = queried.take(state, await scraped(stack, total), 0.0, 2 * SCRAPED)
        for place, name in enumerate(("events:checkout", "total:checkout")):
            pair = weighed.get(name, (0.0, 0.0))
            counted[place] = (counted[place][0] + pair[0], counted[place][1] + pair[1])

    old[0].total, old[0].failed, old[1].total, new.total = 1_000, 10, 500, 100
    await look(1_600)
    old[0].total, old[0].failed, new.total, new.failed = 1_100, 11, 150, 1
    await look(1_750)
    assert counted == [(1, 1), (100, 50)]
    old[0].up = False
    new.total = 160
    await look(660)  # old-1 has left the sum
    old[1].total, new.total = 540, 180
    await look(720)
    assert counted == [(1, 1), (140, 70)]
    old[0].up = True
    await look(1_820)  # and is back, with all that it ever counted
    assert counted == [(1, 1), (140, 70)]
    old[0].total = 1_110
    await look(1_830)
    assert counted == [(1, 1), (150, 70)]


BAD = {
    "parse error": ("sum(", "was refused with 400 (invalid parameter"),
    "two series": ('all_total{namespace="{{namespace}}",pod=~"{{revision}}-.*|old-.*"}', "series and not one: put sum"),
    "NaN": ('sum(odd{namespace="{{namespace}}",pod=~"{{revision}}-.*"})', "gives NaN: query counters"),
    "+Inf": ("vector(1)/0", "gives +Inf: "),
    "below zero": ("vector(0)-1", "gives -1: a count is never below 0"),
    "nothing": ("sum(nobody_exports_this)", "gives nothing: no pod of this revision has been scraped yet"),
    "a string": ('"41"', "gives a string, and no counter"),
    "a scalar": ("41", "gives a scalar, and no counter"),
    "a range": ("all_total[1m]", "gives a matrix, and no counter"),
}  # fmt: skip


@pytest.mark.parametrize(("query", "said"), BAD.values(), ids=BAD.keys())
async def test_a_bad_answer_is_told_with_metric_query_and_way_out(stack: Stack, query: str, said: str) -> None:
    found = await looked(replace(stack.access, any_query=True), replace(WISH, events=query), replace(WISH, name="good"))
    answer = found.candidate["checkout"]
    assert isinstance(answer, str), answer
    assert answer.startswith(
        f"metric checkout: events ({query.replace('{{namespace}}', 'ml').replace('{{revision}}', 'new')})"
    )
    assert said in answer
    assert found.candidate["good"] == Level(0, 0), "the others are answered all the same"


async def test_an_event_that_never_happened_has_no_series_and_the_way_out_that_is_told_works(stack: Stack) -> None:
    stack.pods["new-1"].failed = None
    await asyncio.to_thread(stack.until_scraped, "count(failed_total)", "2")
    found = await looked(
        stack.access, WISH, Wish("b", Kind.PROMETHEUS, 1.5, 1.0, 0.0, events=f"{EVENTS} or vector(0)", total=TOTAL)
    )
    assert "`or vector(0)`" in str(found.candidate["checkout"])
    assert found.candidate["b"] == Level(0, 0)


async def test_an_unknown_authority_is_told_with_the_setting(stack: Stack) -> None:
    said = str((await looked(replace(stack.access, ca_file=""))).champion["checkout"])
    assert "certificate verify failed" in said
    assert "set prometheus.caConfigMap of Podium's chart" in said


async def test_without_a_token_or_with_a_wrong_one_it_is_told_and_a_renewed_one_is_taken(
    stack: Stack, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("an-old-token")
    source = Prometheus(replace(stack.access, token_file=str(token)), settled=SETTLED)
    said = str((await source.look((WISH,), NAMESPACE, "old", "new")).champion["checkout"])
    assert "was refused with 403" in said
    assert "put a valid token into prometheus.tokenSecret" in said
    token.write_text(stack.token.read_text())
    assert (await source.look((WISH,), NAMESPACE, "old", "new")).champion["checkout"] == Level(0, 0)
    source.close()
    direct = replace(stack.access, url=f"https://127.0.0.1:{stack.port}")
    assert "was refused with 401" in str((await looked(direct)).champion["checkout"])


class Now(Routers):
    """One router, read by the real clock."""

    async def round(self, asks: Sequence[Ask], interval: float) -> Round:
        """See Routers."""
        self.now = time.time() - interval
        return await super().round(asks, interval)


async def requests(stack: Stack, bad: Collection[str] = ()) -> None:
    """Both revisions answer, until this is cancelled; pods that are in `bad` by then fail."""
    while True:
        for name in ("old-1", "new-1"):
            pod = stack.pods[name]
            pod.total += 20
            if name in bad:
                pod.failed = (pod.failed or 0) + 20
        await asyncio.sleep(0.05)


async def test_an_outage_holds_and_never_decides_and_the_verdict_comes_after_it(stack: Stack) -> None:
    routers = Now()
    source = Prometheus(stack.access, settled=SETTLED)
    scraper: Any = lambda: routers  # noqa: E731
    analyst = Analyst(routers, Woken(time.time), lambda: True, scraper=scraper, prometheus=source)
    task = replace(TASK, asked=Asked((ERRORS, WISH), interval=0.25))

    def found() -> Findings:
        findings = analyst.findings(KEY, task.rollout)
        assert findings is not None
        return findings

    def total() -> tuple[float, float]:
        live = found().live
        return live.state.weighed.get("total:checkout", (0, 0)) if live else (0, 0)

    def call() -> Call:
        live = found().live
        assert live is not None
        return decide(live.ledger.plan, live.state, Circumstances(steps_over=True, holds=found().holds)).call

    bad: set[str] = set()
    jobs = [asyncio.create_task(analyst.run()), asyncio.create_task(requests(stack, bad))]
    try:
        analyst.follow(KEY, task)
        await until(lambda: min(total()) > 0 and not found().holds, SECONDS)
        assert call() is Call.GO_ON

        stack.kill()
        await until(lambda: any("was answered with 503" in why for why in found().holds), SECONDS)
        before, rounds = total(), routers.rounds
        bad.add("new-1")
        # longer than a look at Prometheus and the next one are apart
        await until(lambda: routers.rounds > rounds + 24, SECONDS)
        assert call() is Call.HOLD
        assert total() == before

        await asyncio.to_thread(stack.start)
        await until(lambda: call() is Call.ROLL_BACK, SECONDS)
        live = found().live
        assert live is not None
        assert live.decision.rule == "harm: checkout"
    finally:
        for job in jobs:
            job.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*jobs)
        source.close()
