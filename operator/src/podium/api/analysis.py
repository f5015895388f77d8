"""`spec.rollout.analysis`: what live traffic must show before a Canary is promoted, and what rolls a revision back.

What the numbers mean, and why these defaults: podium/analysis. The defaults of a metric depend on its type and are
found there (`podium.analysis.metrics.TYPES`), so that a field which is absent here is None.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from podium.analysis.metrics import TYPES, Kind
from podium.api import durations, queries
from podium.api.base import DURATION_FORMAT, ApiModel, Between, FieldError, Span
from podium.api.schema import Format, Rule, Rules

LARGEST_RATIO: Final = 100
MOST_METRICS: Final = 20
MAX_RATIO: Final = TYPES[Kind.ERROR_RATE].max_ratio
"""The default of every type that the API knows."""

Interval = Annotated[
    str, Field(max_length=durations.MAX_LENGTH), DURATION_FORMAT, Span("1s", "60s", "write a duration such as 2s")
]
WarmUp = Annotated[
    str, Field(max_length=durations.MAX_LENGTH), DURATION_FORMAT, Span("0s", "1h", "write a duration such as 1m")
]
Threshold = Annotated[
    str, Field(max_length=durations.MAX_LENGTH), DURATION_FORMAT, Span("1ms", "10m", "write a duration such as 250ms")
]
"""Within what routers tell apart (podium/analysis/edges.py)."""
Confidence = Annotated[
    float,
    Between(0.5, 0.999, "must be a share from 0.5 to 0.999, not percent: write 0.95 for 95 percent"),
]
MaxRatio = Annotated[
    float,
    Between(
        1,
        LARGEST_RATIO,
        f"must be a ratio above 1, at most {LARGEST_RATIO}: write 1.5 for at most half as much again",
        above=True,
    ),
]
HarmRatio = Annotated[
    float,
    Between(1, LARGEST_RATIO, f"must be a ratio from 1 to {LARGEST_RATIO}: write 1 where any more is harm"),
]
MetricName = Annotated[
    str,
    Field(min_length=1, max_length=30),
    Format(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be of lower-case letters, digits and -, beginning and ending with a letter or digit, such as errors",
    ),
]
Percent = Annotated[
    str,
    Field(max_length=16),
    Format(
        r"^(0|[1-9][0-9]?)(\.[0-9]{1,6})?%$",
        "must be a number of percent from 0 to below 100 with % behind it: write 0.1%, or 0% for none",
    ),
]
Query = Annotated[
    str,
    Field(min_length=1, max_length=queries.LONGEST),
    AfterValidator(queries.check),
    Rules(
        (
            Rule(
                rf"self.matches(r'{queries.TEXT_PATTERN}')",
                "names a variable that does not exist; there are {{namespace}} and {{revision}}",
                expression="self.replace('{{namespace}}', '').replace('{{revision}}', '').find(r'\\{\\{[^}]*\\}?\\}?')"
                " + ' is no variable of a query; there are {{namespace}} and {{revision}}'",
            ),
        )
    ),
]


def _same(one: str, other: str) -> str:
    """CEL: whether two metrics ask the same. Ternaries: of optional values the API server's budget knows no size."""

    def asked(metric: str) -> tuple[str, ...]:
        most = f"(has({metric}.maxRatio) ? {metric}.maxRatio : {MAX_RATIO})"
        usual = f"({metric}.type == 'Latency' ? {most} : 1.0)"
        nobody_minds = (
            f"({metric}.type in ['ErrorRate', 'Rejections'] ? '0.1%' : {metric}.type == 'Prometheus' ? '0%' : '1%')"
        )
        return (
            f"{metric}.type",
            most,
            f"(has({metric}.harmRatio) ? {metric}.harmRatio : {usual})",
            f"(has({metric}.tolerate) ? {metric}.tolerate : {nobody_minds})",
            f"(has({metric}.threshold) ? {metric}.threshold : '')",
            f"(has({metric}.events) ? {metric}.events : '')",
            f"(has({metric}.total) ? {metric}.total : '')",
        )

    return " && ".join(f"{left} == {right}" for left, right in zip(asked(one), asked(other), strict=True))


class Metric(ApiModel):
    """One metric by which both revisions are compared."""

    cel = (
        Rule(
            "!has(self.threshold) || self.type == 'Latency'",
            "threshold: has a meaning for type Latency alone: set type to Latency, or remove threshold",
            field=".threshold",
            shown="self.threshold",
        ),
        Rule(
            f"!has(self.harmRatio) || self.harmRatio <= self.?maxRatio.orValue({MAX_RATIO})",
            f"harmRatio: must not be above maxRatio, which is {MAX_RATIO} where it is absent: lower harmRatio or raise "
            "maxRatio",
            field=".harmRatio",
        ),
        Rule(
            "(self.type == 'Prometheus') == has(self.events) && has(self.events) == has(self.total)",
            "events and total: type Prometheus needs both, and no other type has them: set both, or remove them",
        ),
    )

    name: MetricName = Field(
        description=(
            "Unique name of the metric, shown in status, Events and messages. At most 30 characters. No default."
        )
    )
    type: Literal["ErrorRate", "Rejections", "Abandoned", "Latency", "Prometheus"] = Field(
        description=(
            "What counts as a failure. ErrorRate: 5xx, resets, router time-outs, and 429 from the model server. "
            "Rejections: other 4xx, except 408 and 499. Abandoned: requests cancelled by callers. Latency: responses "
            "slower than threshold. Prometheus: the query events. No default."
        )
    )
    max_ratio: MaxRatio | None = Field(
        default=None,
        description=(
            "Promotion needs evidence that the candidate's rate is below this multiple of the champion's. A ratio "
            f"above 1, at most {LARGEST_RATIO}. Default: {MAX_RATIO}."
        ),
    )
    harm_ratio: HarmRatio | None = Field(
        default=None,
        description=(
            "Evidence that the candidate's rate is above this multiple of the champion's rolls it back. A ratio from "
            "1 to maxRatio. Default: 1; for Latency, maxRatio."
        ),
    )
    tolerate: Percent | None = Field(
        default=None,
        description=(
            "Rate up to which the candidate counts as good, whatever the champion's rate. A percentage such as 0.1%, "
            "below 100; 0% for none. Default: 0.1% for ErrorRate and Rejections, 1% for Abandoned and Latency, 0% "
            "for Prometheus."
        ),
    )
    threshold: Threshold | None = Field(
        default=None,
        description=(
            "Latency only: slower responses are failures; rounded up to a bucket of the routers' histograms. A "
            "duration such as 250ms, from 1ms to 10m. Default: the champion's 95th percentile when the rollout "
            "starts."
        ),
    )
    events: Query | None = Field(
        default=None,
        description=(
            "Prometheus only: query of a counter of failures, one series, with {{namespace}} and {{revision}}; no "
            "rate() or increase(). No default."
        ),
    )
    total: Query | None = Field(
        default=None,
        description="Prometheus only: the same for a counter of all attempts, failures included. No default.",
    )

    @property
    def kind(self) -> Kind:
        """Its type, as the statistics call it."""
        return Kind(self.type)

    def same_as(self, other: "Metric") -> bool:
        """Whether both ask the same, whatever they are called."""
        return self._asked() == other._asked()

    def _asked(self) -> tuple[object, ...]:
        row = TYPES[self.kind]
        most = row.max_ratio if self.max_ratio is None else self.max_ratio
        usual = most if row.harm_ratio is None else row.harm_ratio
        harm = usual if self.harm_ratio is None else self.harm_ratio
        tolerate = f"{100 * row.tolerate:g}%" if self.tolerate is None else self.tolerate
        return self.type, most, harm, tolerate, self.threshold, self.events, self.total

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.threshold is not None and self.kind is not Kind.LATENCY:
            raise FieldError(
                "threshold", self.threshold, "has a meaning for type Latency alone: set type to Latency, or remove it"
            )
        for name, query in (("events", self.events), ("total", self.total)):
            if (query is None) == (self.kind is Kind.PROMETHEUS):
                need = "type Prometheus needs events and total, and no other type has them: set both, or remove them"
                raise FieldError(name, query or "", need)
        most = MAX_RATIO if self.max_ratio is None else self.max_ratio
        if self.harm_ratio is not None and self.harm_ratio > most:
            raise FieldError(
                "harmRatio", self.harm_ratio, f"must not be above maxRatio, {most:g}: lower it or raise maxRatio"
            )
        return self


def _tuple(value: object) -> tuple[Any, ...]:
    """Lists, as JSON has them, become tuples, which are frozen like everything here."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of metrics, such as [{name: errors, type: ErrorRate}]: correct it")
    return tuple(value)


Metrics = Annotated[
    tuple[Metric, ...],
    Field(max_length=MOST_METRICS),
    BeforeValidator(_tuple),
    Rules(
        (
            Rule(
                "self.all(one, self.exists_one(other, other.name == one.name))",
                "names must differ: rename one of the metrics, or remove it",
            ),
            Rule(
                f"self.all(a, !self.exists(b, a.name != b.name && {_same('a', 'b')}))",
                "two metrics of one type must not ask the same: change a ratio, tolerate or threshold of one, or "
                "remove it",
            ),
        )
    ),
]


class Analysis(ApiModel):
    """What both revisions are compared by under live traffic, and how sure the result must be."""

    confidence: Confidence = Field(
        default=0.95,
        description=(
            "How sure a decision must be: at 0.95 at most 1 in 20 healthy revisions is rolled back, and at most 1 in "
            "20 harmful ones promoted. A share from 0.5 to 0.999. Default: 0.95."
        ),
    )
    interval: Interval = Field(
        default="2s",
        description="How often the counters are read. A duration such as 2s, from 1s to 60s. Default: 2s.",
    )
    warm_up: WarmUp = Field(
        default="1m",
        description=(
            "How long the latency of a pod is ignored after it becomes ready; its errors count at once. A duration "
            "such as 1m, from 0s to 1h. Default: 1m."
        ),
    )
    metrics: Metrics | None = Field(
        default=None,
        description=(
            "Metrics to compare by, at most 20; empty: no analysis. Types other than ErrorRate need strategy Canary "
            "and traffic.router Envoy; elsewhere ErrorRate can roll back, not promote. Default: for a Canary, errors "
            "and, with that router, rejections, abandoned and latency."
        ),
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        metrics = self.metrics or ()
        for place, metric in enumerate(metrics):
            for before in metrics[:place]:
                if metric.name == before.name:
                    raise FieldError(
                        f"metrics[{place}].name", metric.name, "occurs twice: rename one of the metrics, or remove it"
                    )
                if metric.same_as(before):
                    raise FieldError(
                        f"metrics[{place}]",
                        metric.name,
                        f"asks the same as {before.name}: change a ratio, tolerate or threshold, or remove one",
                    )
        return self
