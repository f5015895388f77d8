"""A key keeps its requests together: on the side of the split that its hash says, by a real Envoy."""

import asyncio
import http.client
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from podium.router.endpoints import HTTP, Endpoint
from podium.router.routing import Mirror, Routing, Share, Sticky
from tests.integration.metrics.known import PORT, SECONDS, Asked, Router, Server
from tests.integration.router.routing_rig import HERE, NEW, OLD
from tests.integration.router.xxh64 import xxh64

Header = tuple[str, str | bytes]
USERS = [f"user-{number}" for number in range(300)] + ["x" * 31, "x" * 32, "x" * 100, "jos\u00e9"]
BY_HEADER, BY_COOKIE = Sticky("fraud-7", header="X-User"), Sticky("fraud-7", cookie="u.id")
ADDRESSES = iter(range(2, 250))


class Sent(Router):
    """A router, and what reached the pods of each revision."""

    asked: dict[str, Asked]

    async def split(self, weight: int, sticky: Sticky | None = None, mirror: Mirror | None = None) -> None:
        """Give the new revision this weight."""
        shares = (Share(NEW, weight), Share(OLD, 10_000 - weight))
        await asyncio.to_thread(self.tell, Routing("fraud", PORT, shares, sticky=sticky, mirror=mirror))

    async def arms(self, requests: Iterable[Iterable[Header]]) -> list[str]:
        """The revision that answered each; AssertionError for an answer that is none."""
        return await asyncio.to_thread(self._arms, requests)

    def _arms(self, requests: Iterable[Iterable[Header]]) -> list[str]:
        found = []
        with closing(http.client.HTTPConnection(self.address, PORT, timeout=SECONDS)) as connection:
            for number, headers in enumerate(requests):
                connection.putrequest("GET", f"/200/{number}")
                for name, value in headers:
                    connection.putheader(name, value.encode() if isinstance(value, str) else value)
                connection.endheaders()
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()
                answer.read()
                found.append(answer.headers["x-podium-revision"])
        return found


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Sent]:
    async with AsyncExitStack() as stack:
        asked: dict[str, Asked] = {OLD: Asked(), NEW: Asked()}
        pods = {
            (name, HTTP): (await stack.enter_async_context(Server(asked[name], name).listening()),) for name in asked
        }
        router = Sent(tmp_path / "router", f"127.0.4.{next(ADDRESSES)}", pods)
        router.asked = asked
        await router.split(0)
        stack.enter_context(router.running())
        await router.until_ready()
        yield router


def keyed(sticky: Sticky, user: str) -> list[Header]:
    return [("x-user", user)] if sticky.header else [("cookie", f"theme=dark; u.id={user}; lang=en")]


def side(sticky: Sticky, user: str) -> int:
    """Of 10,000: with a weight above it the user is the candidate's."""
    return xxh64(f"{sticky.salt}:{user}".encode()) % 10_000


def test_the_hash_is_xxh64() -> None:
    assert xxh64(b"") == 0xEF46DB3751D8E999
    assert xxh64(b"abc") == 0x44BC2CF5AD770999
    assert xxh64(b"Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1


@pytest.mark.parametrize("sticky", [BY_HEADER, BY_COOKIE], ids=["header", "cookie"])
async def test_a_user_stays_with_the_candidate_while_its_weight_grows_and_until_it_shrinks(
    router: Sent, sticky: Sticky
) -> None:
    for weight in (100, 500, 2_500, 10_000, 2_500, 500, 100, 0):
        await router.split(weight, sticky)
        arms = dict(zip(USERS, await router.arms(keyed(sticky, user) for user in USERS), strict=True))

        assert arms == {user: NEW if side(sticky, user) < weight else OLD for user in USERS}, weight
    assert len({side(sticky, user) < 2_500 for user in USERS}) == 2


async def test_rollouts_divide_the_users_independently_of_one_another(router: Sent) -> None:
    arms = []
    for salt in ("fraud-7", "fraud-8"):
        await router.split(5_000, Sticky(salt, header="x-user"))
        arms.append(await router.arms(keyed(BY_HEADER, user) for user in USERS))

    cells = Counter(zip(*arms, strict=True))
    expected = len(USERS) / 4
    # 5 standard deviations of a binomial
    assert len(cells) == 4
    assert all(abs(count - expected) < 5 * (expected * 3 / 4) ** 0.5 for count in cells.values()), cells


@pytest.mark.parametrize(
    "request_",
    [
        [("x-user", "x" * 50_000)],
        [("x-user", "a"), ("x-user", "b")],
        [("x-user", "a,b")],
        [("x-user", b"\xff\xfe")],
    ],
    ids=["very long", "twice", "a list", "no UTF-8"],
)  # fmt: skip
async def test_an_odd_key_is_a_key(router: Sent, request_: list[Header]) -> None:
    await router.split(5_000, BY_HEADER)

    assert len(set(await router.arms([request_] * 40))) == 1


@pytest.mark.parametrize(
    "others",
    [
        "u.id={}", "u.id={}; a=b", "a=b;u.id={}", "xu.id=0; u.id={}", "u-id=0; u.id={}", "u.id={}; u.id=other",
        "u.id=; u.id={}", "=; ;; u.id={};", 'a="b, c"; u.id={}',
    ],
)  # fmt: skip
async def test_a_cookie_is_a_key_whatever_stands_beside_it(router: Sent, others: str) -> None:
    await router.split(5_000, BY_COOKIE)
    users = USERS[:40]

    arms = await router.arms([("cookie", others.format(user))] for user in users)
    assert arms == [NEW if side(BY_COOKIE, user) < 5_000 else OLD for user in users]


@pytest.mark.parametrize("line", [b"name=jos\xe9; u.id=7", b"u.id=7; name=jos\xe9"])
async def test_cookies_of_another_encoding_do_not_hide_it(router: Sent, line: bytes) -> None:
    await router.split(5_000, BY_COOKIE)

    assert set(await router.arms([[("cookie", line)]] * 40)) == {NEW if side(BY_COOKIE, "7") < 5_000 else OLD}


async def test_a_cookie_is_found_in_any_line_of_its_header(router: Sent) -> None:
    await router.split(5_000, BY_COOKIE)

    for user in USERS[:10]:
        lines = [[("cookie", f"session={number}"), ("cookie", f"u.id={user}")] for number in range(20)]
        assert len(set(await router.arms(lines))) == 1


@pytest.mark.parametrize(
    ("sticky", "request_"),
    [
        (BY_HEADER, []),
        (BY_HEADER, [("x-user", "")]),
        (BY_COOKIE, []),
        (BY_COOKIE, [("cookie", "")]),
        (BY_COOKIE, [("cookie", "u.id=")]),
        (BY_COOKIE, [("cookie", "theme=dark; uxid=7; u.ids=7")]),
    ],
)  # fmt: skip
async def test_requests_without_a_key_are_drawn_each_for_itself(
    router: Sent, sticky: Sticky, request_: list[Header]
) -> None:
    await router.split(5_000, sticky)

    # all of 100 on one side: once in 2^99
    assert set(await router.arms([request_] * 100)) == {OLD, NEW}


async def test_copies_go_to_the_mirror_and_its_answers_to_nobody(router: Sent) -> None:
    await router.split(0, mirror=Mirror(NEW, 100))

    assert set(await router.arms([[]] * 100)) == {OLD}
    await until(lambda: len(router.asked[NEW]) == 100)


async def test_a_mirror_sees_its_share_of_the_requests(router: Sent) -> None:
    await router.split(0, mirror=Mirror(NEW, 25))

    assert set(await router.arms([[]] * 1_000)) == {OLD}
    # 5 standard deviations of a binomial
    await until(lambda: len(router.asked[NEW]) > 180)
    assert len(router.asked[NEW]) < 320


async def test_a_dead_mirror_costs_the_callers_nothing(router: Sent) -> None:
    router.pods = {**router.pods, (NEW, HTTP): (Endpoint(HERE, 1),)}
    await router.split(0, mirror=Mirror(NEW, 100))

    assert set(await router.arms([[]] * 100)) == {OLD}


async def until(holds: Callable[[], bool]) -> None:
    """AssertionError where it does not come true."""
    for _ in range(int(SECONDS / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true")
