"""Every pod that Podium makes meets the restricted Pod Security Standard, whatever a user writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api.v1alpha1 import InvalidSpec
from podium.manifests.errors import Unresolvable
from tests.unit.manifests.examples import builtin, pod, runtime, spec
from tests.unit.manifests.restricted import violations

TEXT = st.text("abcz09", min_size=1, max_size=8)
KINDS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"configMap": {"name": "c"}},
        {"secret": {"secretName": "s"}},
        {"emptyDir": {}},
        {"persistentVolumeClaim": {"claimName": "p"}},
        {"projected": {"sources": []}},
        {"csi": {"driver": "d"}},
        {"image": {"reference": "i"}},
        {"hostPath": {"path": "/"}},
        {"nfs": {"server": "s", "path": "/"}},
    ]
)
SECURITY = st.fixed_dictionaries(
    {},
    optional={
        "runAsUser": st.integers(0, 3),
        "runAsNonRoot": st.booleans(),
        "fsGroup": st.integers(0, 70000),
        "supplementalGroups": st.lists(st.integers(0, 5), max_size=3),
        "sysctls": st.just([{"name": "kernel.shm", "value": "1"}]),
        "seccompProfile": st.just({"type": "Unconfined"}),
        "seLinuxOptions": st.dictionaries(
            st.sampled_from(["type", "level", "user", "role"]), st.sampled_from(["container_t", "spc_t", "s0", ""])
        ),
    },
)
POD_TEMPLATES = st.fixed_dictionaries(
    {},
    optional={
        "securityContext": SECURITY,
        "fetchSecurityContext": SECURITY,
        "volumes": st.lists(st.tuples(TEXT, KINDS).map(lambda pair: {"name": pair[0], **pair[1]}), max_size=3),
        "volumeMounts": st.lists(
            st.tuples(TEXT, st.sampled_from(["/data", "/models/x", "/tmp", "/home"])).map(
                lambda pair: {"name": pair[0], "mountPath": pair[1]}
            ),
            max_size=2,
        ),
        "hostNetwork": st.booleans(),
        "hostPID": st.booleans(),
        "automountServiceAccountToken": st.booleans(),
        "serviceAccountName": st.just("robot"),
        "labels": st.dictionaries(TEXT, TEXT, max_size=2),
    },
)
MODELS = st.sampled_from(
    [
        {},
        {"uri": "s3://m/1"},
        {"uri": "s3://m/1", "credentialsSecret": "s"},
        {"uri": "pvc://claim/a"},
        {"uri": "https://h/a.mar"},
    ]
)
RUNTIMES = st.sampled_from([builtin("onnxruntime"), builtin("torchserve"), runtime()])


@given(model=MODELS, template=POD_TEMPLATES, run=RUNTIMES)
def test_whatever_a_user_writes_the_pod_is_restricted_or_the_spec_is_refused(
    model: dict[str, Any], template: dict[str, Any], run: Any
) -> None:
    # given a spec of any such parts, the hostile ones included
    try:
        user = spec(model=model, podTemplate=template)
        made = pod(user, run)
    except (InvalidSpec, Unresolvable):
        return  # refused, with a sentence

    # then its pod meets the standard, and goes further where Podium promises it
    assert violations(made) == []
    assert made["automountServiceAccountToken"] is False
    containers = made["containers"] + made.get("initContainers", [])
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers)


@pytest.mark.parametrize(
    "template", [{}, {"securityContext": {"runAsUser": 7, "fsGroup": 7}}, {"serviceAccountName": "robot"}]
)
def test_an_ordinary_spec_is_not_refused(template: dict[str, Any]) -> None:
    made = pod(spec(podTemplate=template), builtin("onnxruntime"))

    assert violations(made) == []


@pytest.mark.parametrize(
    "security",
    [
        {"container": {"capabilities": {"add": ["SYS_NICE"]}}},
        {"pod": {"runAsNonRoot": False}},
        {"container": {"privileged": True}},
    ],
)
def test_a_model_runtime_may_loosen_it_and_the_checker_sees_that(security: dict[str, Any]) -> None:
    made = pod(spec(), runtime(securityContext=security))

    assert violations(made) != []


def test_the_fetcher_stays_restricted_beside_a_runtime_that_runs_as_root() -> None:
    made = pod(spec(), runtime(securityContext={"pod": {"runAsUser": 0, "runAsNonRoot": False}}))

    (fetch,) = made["initContainers"]
    assert fetch["securityContext"]["runAsNonRoot"] is True
    assert fetch["securityContext"]["runAsUser"] == 65532


def test_the_fetcher_alone_runs_as_the_user_that_its_author_chooses() -> None:
    user = spec(podTemplate={"fetchSecurityContext": {"runAsUser": 1337}})

    made = pod(user, builtin("onnxruntime"))

    (fetch,) = made["initContainers"]
    assert fetch["securityContext"]["runAsUser"] == 1337
    assert "runAsUser" not in made["containers"][0]["securityContext"]
    assert pod(spec(), builtin("onnxruntime"))["securityContext"] == made["securityContext"]
    assert violations(made) == []


def test_the_fetcher_is_given_that_user_beside_a_runtime_that_runs_as_root_too() -> None:
    root = runtime(securityContext={"pod": {"runAsUser": 0, "runAsNonRoot": False}})

    made = pod(spec(podTemplate={"fetchSecurityContext": {"runAsUser": 1337}}), root)

    assert made["initContainers"][0]["securityContext"]["runAsUser"] == 1337


def test_the_fetcher_is_never_root_and_its_author_sets_nothing_but_the_user() -> None:
    with pytest.raises(InvalidSpec, match=r"fetchSecurityContext\.runAsUser: .*0.* greater than or equal to 1"):
        spec(podTemplate={"fetchSecurityContext": {"runAsUser": 0}})

    made = pod(spec(podTemplate={"fetchSecurityContext": {"privileged": True, "runAsNonRoot": False}}))

    assert made == pod(spec())


def test_a_ModelRuntime_may_fix_the_fetchers_user() -> None:
    fixed = runtime(securityContext={"fetchUser": "Fixed"})

    assert pod(spec(), fixed) == pod(spec(), runtime())
    with pytest.raises(Unresolvable) as error:
        pod(spec(podTemplate={"fetchSecurityContext": {"runAsUser": 1337}}), fixed)

    assert error.value.reason == "InvalidSpec"
    assert error.value.message == (
        "spec.podTemplate.fetchSecurityContext.runAsUser: 1337 is not allowed, since ModelRuntime onnxruntime fixes "
        "the fetcher's user (securityContext.fetchUser: Fixed): remove it, or choose another runtime"
    )


def test_a_user_for_a_fetcher_that_there_is_not_is_refused() -> None:
    with pytest.raises(Unresolvable, match=r"runAsUser: 1337 is of no use, .* set spec\.model\.uri"):
        pod(spec(model={}, podTemplate={"fetchSecurityContext": {"runAsUser": 1337}}))


def test_a_users_user_wins_over_the_runtimes() -> None:
    user = spec(model={"uri": "s3://m/a.mar"}, podTemplate={"securityContext": {"runAsUser": 2000}})
    made = pod(user, builtin("torchserve"))

    assert made["securityContext"]["runAsUser"] == 2000
    assert "runAsUser" not in made["containers"][0]["securityContext"]
