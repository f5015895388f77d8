"""A mesh whose sidecar starts after the fetcher is told as such, with the ways out, where it can be the cause."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from podium.reconcile.symptoms import symptom

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FETCH: dict[str, Any] = {"name": "fetch", "securityContext": {"runAsNonRoot": True}}
ISTIO, LINKERD = {"name": "istio-proxy"}, {"name": "linkerd-proxy"}
NATIVE = {"restartPolicy": "Always"}


def pod(
    *containers: dict[str, Any],
    inits: tuple[dict[str, Any], ...] = (FETCH,),
    reason: str = "ConnectFailed",
    permanent: bool = False,
    annotations: dict[str, str] | None = None,
    user: int | None = None,
) -> dict[str, Any]:
    """One whose fetcher has ended without the model; `containers` are beside the model's own."""
    said = {"permanent": permanent, "reason": reason, "message": "s3://m/1: cannot connect to http://minio:9000"}
    ended = {"exitCode": 75, "reason": "Error", "message": json.dumps(said)}
    statuses = [{"name": "fetch", "restartCount": 2, "state": {"terminated": ended}}]
    return {
        "metadata": {"name": "p", "namespace": "ml", "annotations": annotations or {}},
        "spec": {
            "initContainers": list(inits),
            "containers": [{"name": "model"}, *containers],
            "securityContext": {} if user is None else {"runAsUser": user},
        },
        "status": {"phase": "Pending", "initContainerStatuses": statuses},
    }


def told(found: dict[str, Any]) -> tuple[str, str, int]:
    result = symptom(found, NOW)
    assert result is not None
    return result


def test_a_sidecar_that_starts_after_the_fetcher_is_told_with_the_fetchers_words_and_the_ways_out_last() -> None:
    assert told(pod(ISTIO)) == (
        "FetchBlockedByMesh",
        "pod p cannot fetch the model because of Istio: its connections are led to the sidecar istio-proxy, which "
        "starts only after the init container fetch (ConnectFailed: s3://m/1: cannot connect to http://minio:9000). "
        "Ways out, in spec.podTemplate (docs/traffic.md): let the sidecar start first (annotation "
        'sidecar.istio.io/nativeSidecar: "true"), or set spec.podTemplate.fetchSecurityContext.runAsUser to 1337, or '
        "name the model store's port in annotation traffic.sidecar.istio.io/excludeOutboundPorts",
        2,
    )


def test_Linkerds_ways_out_are_its_own() -> None:
    reason, message, _ = told(pod(LINKERD))

    assert reason == "FetchBlockedByMesh"
    for word in ("Linkerd", "2102", "config.linkerd.io/skip-outbound-ports", "proxy-enable-native-sidecar"):
        assert word in message
    assert "istio" not in message


@pytest.mark.parametrize(
    "found",
    [
        pod(annotations={"sidecar.istio.io/status": "{}"}),
        pod(ISTIO, inits=({"name": "istio-validation"}, FETCH)),
        pod(ISTIO, inits=({"name": "istio-init"}, FETCH)),
        pod(inits=(FETCH, ISTIO | NATIVE)),
        pod(ISTIO, reason="NameResolution"),
        pod(ISTIO, reason="Timeout"),
        pod(ISTIO, user=65532),
    ],
    ids=["its mark", "Istio CNI", "redirected before", "native but later", "no name", "no answer", "another user"],
)
def test_so_it_is_wherever_connections_are_redirected_to_nobody(found: dict[str, Any]) -> None:
    assert told(found)[0] == "FetchBlockedByMesh"


@pytest.mark.parametrize(
    "found",
    [
        pod(),
        pod({"name": "vault-agent"}),
        pod(inits=(ISTIO | NATIVE, FETCH)),
        pod(inits=(ISTIO | NATIVE, FETCH), annotations={"sidecar.istio.io/status": "{}"}),
        pod(ISTIO, inits=(FETCH, {"name": "istio-init"})),
        pod(ISTIO, reason="ServerError"),
        pod(ISTIO, inits=({"name": "fetch", "securityContext": {"runAsUser": 1337}},)),
        pod(ISTIO, user=1337),
        pod(ISTIO | {"securityContext": {"runAsUser": 1000690001}}, user=1000690001),
    ],
    ids=[
        "no mesh", "another sidecar", "native", "native, and its mark", "redirected afterwards", "it was reached",
        "its user", "its user, for the pod", "its user on OpenShift",
    ],
)  # fmt: skip
def test_where_the_mesh_is_not_in_the_way_the_fetcher_alone_is_heard(found: dict[str, Any]) -> None:
    reason, message, _ = told(found)

    assert reason == "FetchRetrying"
    assert message.startswith("pod p has not fetched the model yet and tries again (")


def test_what_trying_again_cannot_help_is_no_meshs_doing() -> None:
    assert told(pod(ISTIO, reason="ConnectFailed", permanent=True))[0] == "FetchFailed"


def test_a_sidecar_with_a_user_of_its_own_is_named_by_it() -> None:
    assert "runAsUser to 1000690001" in told(pod(ISTIO | {"securityContext": {"runAsUser": 1000690001}}))[1]


def test_ports_are_no_way_out_where_Istio_redirects_the_questions_for_names() -> None:
    assert "excludeOutboundPorts" not in told(pod(ISTIO, reason="NameResolution"))[1]
    assert "skip-outbound-ports" in told(pod(LINKERD, reason="NameResolution"))[1]


def test_ports_that_are_excluded_already_are_looked_at() -> None:
    excluded = {"traffic.sidecar.istio.io/excludeOutboundPorts": "443"}

    assert (
        "see that annotation traffic.sidecar.istio.io/excludeOutboundPorts names the model store's port"
        in (told(pod(ISTIO, annotations=excluded))[1])
    )


@pytest.mark.parametrize("reason", [["ConnectFailed"], {"a": 1}, None, 7])
def test_last_words_of_another_kind_are_passed_on(reason: Any) -> None:
    assert told(pod(ISTIO, reason=reason))[0] == "FetchRetrying"
