"""What may stand in the queries of a metric of type Prometheus, and what a spec is refused for, by name."""

import pytest

from podium.api import queries
from podium.api.base import InvalidSpec
from podium.api.v1alpha1 import ModelDeploymentSpec

GOOD = 'sum(checkout_failed_total{namespace="{{namespace}}",pod=~"{{revision}}-.*"})'
TOTAL = GOOD.replace("failed_", "")


def spec(**metric: object) -> ModelDeploymentSpec:
    full = {"name": "checkout", "type": "Prometheus", "events": GOOD, "total": TOTAL} | metric
    asked = {name: value for name, value in full.items() if value is not None}
    return ModelDeploymentSpec.parse(
        {
            "runtime": {"name": "onnxruntime"},
            "traffic": {"router": "Envoy"},
            "rollout": {"strategy": "Canary", "analysis": {"metrics": [asked]}},
        }
    )


def test_a_query_of_each_is_taken() -> None:
    metrics = spec().rollout.analysis.metrics
    assert metrics is not None
    assert (metrics[0].events, metrics[0].total) == (GOOD, TOTAL)


@pytest.mark.parametrize("function", ["rate", "irate", "increase", "delta", "idelta", "deriv"])
@pytest.mark.parametrize("form", ["sum({}(a_total[5m]))", "sum({} (a_total[5m]))", "sum({} # why\n(a_total[5m]))"])
def test_functions_that_extrapolate_are_refused_with_the_reason(function: str, form: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"metrics\[0\].events: .*: {function}\(\) extrapolates.*takes the differ"):
        spec(events=form.format(function))


@pytest.mark.parametrize(
    "query",
    [
        'sum(a_total{path="/rate(x)"})', "sum(a_total{path='increase('})", "sum(a_total{path=`delta(`})",
        "sum by (rate) (a_total)", "sum(rate)", "sum(a_total) # no rate(x) here",
        'sum(a_total{path="\\"rate("})', "sum(a_rate_total)", 'sum(a_total{rate="x"})',
    ],
)  # fmt: skip
def test_such_a_word_that_is_no_function_is_not_refused(query: str) -> None:
    assert queries.check(query) == query


@pytest.mark.parametrize("name", ["model", "pod", "", "Revision", "revision "])
def test_a_variable_that_does_not_exist_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"\.total: .*{{{{{name}}}}} is no variable of a query; there are"):
        spec(total=f'sum(a_total{{pod="{{{{{name}}}}}"}})')


@pytest.mark.parametrize("field", ["events", "total"])
def test_one_query_alone_is_refused(field: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"{field}: '': type Prometheus needs events and total"):
        spec(**{field: None})


def test_another_type_has_no_queries() -> None:
    with pytest.raises(InvalidSpec, match=r"events: .*no other type has them"):
        spec(type="ErrorRate")


def test_an_empty_query_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="must be a query of PromQL"):
        spec(events=" ")


def test_metrics_that_differ_in_a_query_ask_different_things() -> None:
    both = [{"name": name, "type": "Prometheus", "events": events, "total": TOTAL}
            for name, events in (("a", GOOD), ("b", TOTAL))]  # fmt: skip
    told = {
        "traffic": {"router": "Envoy"}, "runtime": {"name": "onnxruntime"},
        "rollout": {"strategy": "Canary", "analysis": {"metrics": both}},
    }  # fmt: skip
    ModelDeploymentSpec.parse(told)
    both[1]["events"] = GOOD
    with pytest.raises(InvalidSpec, match="asks the same as a"):
        ModelDeploymentSpec.parse(told)


def test_what_a_query_leaves_out_is_named_and_a_comment_names_nothing() -> None:
    assert queries.missing(GOOD) == ()
    assert queries.missing("sum(a_total)") == ("namespace", "revision")
    assert queries.missing('sum(a_total{pod=~"{{revision}}-.*"}) # {{namespace}}') == ("namespace",)
    assert queries.missing('sum(a_total{pod=~"{{revision}}#{{namespace}}"})') == ()


def test_a_query_is_filled_for_one_revision() -> None:
    found = queries.filled(GOOD, namespace="ml", revision="fraud-6f9c4d2b7k")
    assert found == 'sum(checkout_failed_total{namespace="ml",pod=~"fraud-6f9c4d2b7k-.*"})'
