"""The operator's rights: docs/security.md's table is the truth, and the chart grants it, no more and no less."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from podium.manifests.router import role_binding
from podium.watch.kinds import KINDS
from tests.unit.helm import NAMESPACE, of_kind, render

Right = tuple[str, str, str]
"""API group, resource, verb."""

PLACES = {"everywhere", "cluster", "cluster, unless watchNamespaces", "own namespace"}
NAMESPACES = ("watchNamespaces={team-a,team-b}",)
CHARTS_OWN = "podium-router-namespaced"
"""The chart's binding of the routers' Role, where the operator may write none."""


def table() -> dict[str, set[Right]]:
    """The documented rights by where they hold."""
    rights: dict[str, set[Right]] = {place: set() for place in PLACES}
    for line in Path("docs/security.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("API group", "---"):
            group, resource, verbs, where, why = cells
            assert why
            rights[where.replace("`", "")] |= {
                ("" if group == "core" else group, resource, verb) for verb in verbs.split()
            }
    return rights


def rights_of(roles: Iterable[dict[str, Any]]) -> set[Right]:
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def roles(objects: list[dict[str, Any]], kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
    """The operator's own, those that people aggregate and the routers' aside."""
    return [
        role
        for role in of_kind(objects, kind)
        if role["metadata"].get("namespace") == namespace
        and role["metadata"]["name"] != "podium-router"
        and not any(key.startswith("rbac.authorization.k8s.io/aggregate") for key in role["metadata"]["labels"])
    ]


def test_the_table_is_read() -> None:
    assert all(table()[place] for place in PLACES)


def test_cluster_wide_the_chart_grants_the_table() -> None:
    rights, objects = table(), render()

    cluster = rights["everywhere"] | rights["cluster"] | rights["cluster, unless watchNamespaces"]
    assert rights_of(roles(objects, "ClusterRole")) == cluster
    assert rights_of(roles(objects, "Role", NAMESPACE)) == rights["own namespace"]
    assert len(of_kind(objects, "Role")) == 1


def test_in_namespaced_mode_all_but_reading_runtimes_is_granted_in_those_namespaces_alone() -> None:
    rights, objects = table(), render(*NAMESPACES)

    assert rights_of(roles(objects, "ClusterRole")) == rights["cluster"]
    for namespace in ("team-a", "team-b"):
        assert rights_of(roles(objects, "Role", namespace)) == rights["everywhere"]
    assert rights_of(roles(objects, "Role", NAMESPACE)) == rights["own namespace"]
    assert len(of_kind(objects, "Role")) == 5


def test_each_watched_kind_may_be_read_one_by_one() -> None:
    """A resync reads what a watch is late with by its name (watch/resync.py)."""
    rights = table()
    for resource in KINDS:
        for verb in ("get", "list", "watch"):
            assert (resource.group, resource.plural, verb) in rights["everywhere"] | rights["cluster"]


@pytest.mark.parametrize("values", [(), NAMESPACES])
def test_no_role_reads_secrets_or_can_give_itself_more(values: tuple[str, ...]) -> None:
    objects = render(*values)

    for group, resource, verb in rights_of(of_kind(objects, "Role") + of_kind(objects, "ClusterRole")):
        assert "*" not in (group, resource, verb)
        assert verb not in ("escalate", "impersonate")
        assert not resource.startswith("secrets")
        assert resource not in ("serviceaccounts/token", "pods/exec", "pods/attach")
        assert group != "authentication.k8s.io"


def test_the_operator_binds_the_routers_role_and_no_other_and_nothing_in_namespaced_mode() -> None:
    rules = [
        rule
        for role in of_kind(render(), "Role") + of_kind(render(), "ClusterRole")
        for rule in role.get("rules", ())
        if "rbac.authorization.k8s.io" in rule["apiGroups"]
    ]
    assert [(rule["resources"], rule["verbs"], rule.get("resourceNames")) for rule in rules] == [
        (["rolebindings"], ["create"], None),
        (["rolebindings"], ["get", "patch", "delete"], ["podium-router"]),
        (["clusterroles"], ["bind"], ["podium-router"]),
    ]
    named = of_kind(render(*NAMESPACES), "Role") + of_kind(render(*NAMESPACES), "ClusterRole")
    assert not [r for r in rights_of(each for each in named if "rules" in each) if r[0] == "rbac.authorization.k8s.io"]


@pytest.mark.parametrize("values", [(), NAMESPACES])
def test_of_service_accounts_it_changes_the_routers_alone(values: tuple[str, ...]) -> None:
    objects = render(*values)
    rules = [
        rule
        for role in of_kind(objects, "Role") + of_kind(objects, "ClusterRole")
        for rule in role.get("rules", ())
        if "serviceaccounts" in rule["resources"]
    ]
    assert rules
    for rule in rules:
        assert rule.get("resourceNames") == ["podium-router"] or rule["verbs"] == ["create"]


@pytest.mark.parametrize("values", [(), NAMESPACES])
def test_every_role_is_bound_to_the_operator_and_to_nothing_else(values: tuple[str, ...]) -> None:
    objects = render(*values)
    (account,) = of_kind(objects, "ServiceAccount")
    bindings = [
        binding
        for binding in of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")
        if binding["metadata"]["name"] != CHARTS_OWN
    ]

    for binding in bindings:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": NAMESPACE}
        ]
    bound = {(item["roleRef"]["kind"], item["roleRef"]["name"], item["metadata"].get("namespace")) for item in bindings}
    own = [
        *roles(objects, "ClusterRole"),
        *(role for role in of_kind(objects, "Role") if role["metadata"]["name"] != "podium-router"),
    ]
    assert bound == {(role["kind"], role["metadata"]["name"], role["metadata"].get("namespace")) for role in own}


def routers(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in of_kind(objects, kind) if each["metadata"]["name"] == "podium-router"]


def bound_by_the_chart(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in of_kind(objects, "RoleBinding") if each["metadata"]["name"] == CHARTS_OWN]


def test_an_installation_of_the_whole_cluster_may_become_one_of_a_namespace() -> None:
    written = role_binding("team-a")["metadata"]["name"]

    names = {each["metadata"]["name"] for each in of_kind(render(*NAMESPACES), "RoleBinding")}
    assert written not in names, "Helm takes over nothing that the operator has written, and a roleRef cannot change"


def test_a_router_reads_config_maps_and_endpoint_slices_and_does_nothing_else() -> None:
    reads = {
        (group, resource, verb)
        for group, resource in (("", "configmaps"), ("discovery.k8s.io", "endpointslices"))
        for verb in ("get", "list", "watch")
    }

    assert rights_of(routers(render(), "ClusterRole")) == reads
    # It is bound to nobody: the operator binds it in a namespace that has routers.
    assert routers(render(), "RoleBinding") + routers(render(), "ClusterRoleBinding") == []
    assert routers(render("rbac.routers=false"), "ClusterRole") == []
    elsewhere = render(*NAMESPACES, "rbac.routers=false")
    assert routers(elsewhere, "Role") + bound_by_the_chart(elsewhere) == []


def test_in_namespaced_mode_the_chart_binds_the_routers_in_those_namespaces_alone() -> None:
    objects = render(*NAMESPACES)

    assert routers(objects, "ClusterRole") == []
    assert rights_of(routers(objects, "Role")) == rights_of(routers(render(), "ClusterRole"))
    assert [
        (each["metadata"]["namespace"], each["roleRef"]["kind"], each["roleRef"]["name"], each["subjects"])
        for each in bound_by_the_chart(objects)
    ] == [
        (name, "Role", "podium-router", [{"kind": "ServiceAccount", "name": "podium-router", "namespace": name}])
        for name in ("team-a", "team-b")
    ]


def test_the_lease_is_read_and_written_by_its_name_alone() -> None:
    (role,) = roles(render(), "Role", NAMESPACE)
    (deployment,) = of_kind(render(), "Deployment")
    (name,) = re.findall(
        r"--lease-name=(\S+)", " ".join(deployment["spec"]["template"]["spec"]["containers"][0]["args"])
    )

    named = {verb for rule in role["rules"] if rule.get("resourceNames") == [name] for verb in rule["verbs"]}
    unnamed = {verb for rule in role["rules"] if "resourceNames" not in rule for verb in rule["verbs"]}
    assert named == {"get", "update"}
    assert unnamed == {"create"}  # a name cannot restrict it


def test_people_get_model_deployments_through_the_roles_they_have() -> None:
    people = {role["metadata"]["name"]: role for role in of_kind(render(), "ClusterRole") if "rules" in role}

    edit, view = people["podium-edit"], people["podium-view"]
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert {verb for _, _, verb in rights_of([view])} == {"get", "list", "watch"}
    assert ("podium.dev", "modeldeployments", "create") in rights_of([edit])
    assert not any(resource == "modelruntimes" for _, resource, _ in rights_of([edit]))
