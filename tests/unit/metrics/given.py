"""A router's statistics as Envoy 1.40 writes them."""

from collections.abc import Mapping

from podium.metrics.reading import COUNTERS, Reading, read
from podium.router.bootstrap import grid

LAST = "server.initialization_time_ms: B0.5(0,0) B1(0,0) B100(0,1)\n"


def cluster(name: str = "new.http", *, times: Mapping[float, int] | None = None, **counters: int) -> str:
    """Of one cluster; `times`: answers by latency in ms. A counter `c200` is that of answers 200."""
    values = dict.fromkeys(COUNTERS, 0) | {_named(each): count for each, count in counters.items()}
    lines = "".join(f"cluster.{name}.{each}: {values[each]}\n" for each in sorted(values))
    if times is not None:
        lines += f"cluster.{name}.upstream_rq_time: {histogram(times)}\n"
    return lines


def _named(name: str) -> str:
    if name.startswith("cx_"):
        return f"upstream_{name}"
    return f"upstream_rq_{name[1:] if name[1:].isdigit() else name}"


def histogram(times: Mapping[float, int]) -> str:
    below = {edge: sum(count for time, count in times.items() if time <= edge) for edge in grid()}
    return " ".join(f"B{edge:g}(0,{count})" for edge, count in below.items())


def ended(code: int, flags: str = "-", grpc: str = "-", count: int = 1, name: str = "new.http") -> str:
    """What the access log counted of one kind of end."""
    return f"ended.requests.cluster.{name}.code.{code}.flags.{flags}.grpc.{grpc}: {count}\n"


def text(*parts: str, uptime: int = 100) -> str:
    """All of one router: counters in the order of their names, histograms after them."""
    lines = [*"".join(parts).splitlines(), f"server.uptime: {uptime}"]
    counters = sorted(line for line in lines if "_time: " not in line)
    return "\n".join([*counters, *(line for line in lines if "_time: " in line), LAST])


def reading(*parts: str, uptime: int = 100, pod: str = "router-a") -> Reading:
    return read(pod, text(*parts, uptime=uptime))
