"""spec.traffic: how requests reach the pods."""

from typing import Annotated, Literal

from pydantic import Field

from podium.api import durations
from podium.api.base import DURATION_FORMAT, LONG, ApiModel
from podium.api.schema import Format, Rule, Rules

RequestTime = Annotated[
    str,
    Field(max_length=durations.MAX_LENGTH),
    DURATION_FORMAT,
    Rules(
        (
            LONG,
            Rule(
                rf"!self.matches(r'{durations.PATTERN}') || duration(self) <= duration('24h')",
                "must be at most 24h: shorten the duration",
            ),
        )
    ),
]
"""What a router waits for, at most a day."""

RequestSize = Annotated[
    str,
    Format(
        r"^([1-9][0-9]{0,11}|[1-9][0-9]{0,8}(k|Ki)|[1-9][0-9]{0,5}(M|Mi)|[1-9][0-9]{0,2}(G|Gi)|1(T|Ti))$",
        "must be a number of bytes from 1 to 1Ti, with a suffix such as Ki, Mi or Gi if need be: 64Mi, 1Gi",
    ),
]
"""Bytes of a request."""


def _needs_router(field: str, default: str) -> Rule:
    return Rule(
        f"self.router != 'None' || self.{field} == '{default}'",
        f"{field}: has no effect without a router: set router to Envoy, or leave {field} out",
        field=f".{field}",
    )


class Traffic(ApiModel):
    """How requests reach the pods."""

    cel = (
        _needs_router("timeout", "60s"),
        _needs_router("idleTimeout", "5m"),
        _needs_router("maxRequestBytes", "64Mi"),
    )

    router: Literal["None", "Envoy"] = Field(
        default="None",
        description=(
            "What splits the requests between revisions. None: the Service, in proportion to the numbers of pods. "
            "Envoy: the namespace's routers, by exact weights. Default: None."
        ),
    )
    timeout: RequestTime = Field(
        default="60s",
        description=(
            "Time limit of a whole response through a router, after which the caller gets 504; none for gRPC "
            "streams. A duration such as 60s, at most 24h. Default: 60s."
        ),
    )
    idle_timeout: RequestTime = Field(
        default="5m",
        description=(
            "How long nothing may move before a router ends a request or a stream. A duration such as 5m, at most "
            "24h. Default: 5m."
        ),
    )
    max_request_bytes: RequestSize = Field(
        default="64Mi",
        min_length=1,
        max_length=32,
        description=(
            "Largest request that a router lets through, in bytes with a suffix such as Mi or Gi, at most 1Ti; a "
            "larger Content-Length gets 413. Default: 64Mi."
        ),
    )
