"""The chart: what it renders, what it refuses, and that what is copied into it is what it was copied from."""

import ast
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import install_yaml
from podium.__main__ import settings_from
from podium.api.names import LABEL_MODEL
from podium.api.v1alpha1 import ModelRuntimeSpec
from podium.manifests.router import RouterPods
from podium.router.places import PORT, STATS_PORT
from podium.settings import Settings
from tests.cluster import binaries, podium
from tests.cluster.images import IMAGES
from tests.unit.helm import CHART, NAMESPACE, helm, of_kind, refused, render
from tests.unit.manifests.restricted import violations


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (item,) = of_kind(objects, kind)
    return item


def operator(*values: str) -> dict[str, Any]:
    """The operator's pod template."""
    template: dict[str, Any] = only(render(*values), "Deployment")["spec"]["template"]
    return template


def arguments(*values: str) -> list[str]:
    (container,) = operator(*values)["spec"]["containers"]
    return list(container["args"])


def runtimes(*values: str) -> dict[str, dict[str, Any]]:
    """The built-in ModelRuntimes in the ConfigMap, by name."""
    data = only(render(*values), "ConfigMap")["data"]["runtimes.yaml"]
    return {item["metadata"]["name"]: item for item in yaml.safe_load_all(data)}


def test_the_chart_is_linted_and_packaged(tmp_path: Path) -> None:
    assert helm("lint", "--strict", CHART).returncode == 0
    packaged = helm("package", CHART, "--destination", tmp_path)
    assert packaged.returncode == 0, packaged.stderr
    assert helm("template", next(tmp_path.glob("podium-*.tgz"))).returncode == 0


def test_the_charts_crds_are_the_generated_ones_byte_for_byte() -> None:
    generated = {path.name: path.read_bytes() for path in Path("crds").glob("*.yaml")}

    assert generated
    assert {path.name: path.read_bytes() for path in (CHART / "files/crds").glob("*.yaml")} == generated


def test_the_crds_are_rendered_unchanged_and_outlive_the_release() -> None:
    rendered = {item["metadata"]["name"]: item for item in of_kind(render(), "CustomResourceDefinition")}

    sources = [yaml.safe_load(path.read_text()) for path in Path("crds").glob("*.yaml")]
    assert set(rendered) == {source["metadata"]["name"] for source in sources}
    for source in sources:
        made = rendered[source["metadata"]["name"]]
        assert made["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert made["spec"] == source["spec"]


def test_crds_can_be_left_out() -> None:
    assert of_kind(render("crds.install=false"), "CustomResourceDefinition") == []


def test_the_operators_pods_meet_the_restricted_standard() -> None:
    pod = operator()["spec"]

    assert violations(pod) == []
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in pod["containers"])


def test_the_operator_is_told_where_to_look() -> None:
    assert "--watch-namespaces=" in arguments()
    assert "--watch-namespaces=team-a,team-b" in arguments("watchNamespaces={team-a,team-b}")
    assert "--selector=tier=gold" in arguments("selector=tier=gold")
    assert f"--lease-namespace={NAMESPACE}" in arguments()
    assert "--fetcher-image=podium/serving:0.1.0" in arguments()


def router_pods(*values: str) -> RouterPods:
    """As the operator reads them from its arguments."""
    settings = settings_from(arguments(*values), {})
    return RouterPods.read(settings.router_pods, image=settings.router_image)


def test_the_routers_values_are_their_defaults_and_reach_the_operator() -> None:
    assert router_pods() == RouterPods(image="podium/router:0.1.0", pull_policy="IfNotPresent")
    given = router_pods(
        "image.registry=own.example", "router.minReplicas=3", "router.mesh=true", "router.podAnnotations.a=<b>"
    )
    assert given.image == "own.example/podium/router:0.1.0"
    assert (given.min_replicas, given.mesh, given.pod_annotations) == (3, True, {"a": "<b>"})


def test_further_settings_become_arguments() -> None:
    assert "--fetcher-proxy=http://proxy:3128" in arguments("settings.fetcher-proxy=http://proxy:3128")
    assert "--fetcher-no-proxy=.svc,10.0.0.0/8" in arguments(r"settings.fetcher-no-proxy=.svc\,10.0.0.0/8")
    assert "--crash-grace=2.5" in arguments("settings.crash-grace=2.5")
    assert "--lease-duration=12" in arguments("settings.lease-duration=12")


def test_probes_and_metrics_are_where_the_operator_serves_them() -> None:
    (container,) = operator()["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    assert {"--health-port=8081", "--metrics-port=8080"} <= set(container["args"])
    assert ports == {"metrics": 8080, "health": 8081}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert only(render(), "Service")["spec"]["ports"][0]["targetPort"] == "metrics"


def test_two_replicas_spread_over_nodes_and_are_evicted_one_by_one() -> None:
    assert only(render(), "Deployment")["spec"]["replicas"] == 2
    assert operator()["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"
    assert only(render(), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert of_kind(render("podDisruptionBudget.enabled=false"), "PodDisruptionBudget") == []


def test_the_built_in_runtimes_are_valid_labelled_and_have_the_images_of_the_values() -> None:
    made = runtimes("image.registry=own.example", "image.tag=1.2.3", "runtimes.registry=mirror.example/hub/")

    assert made["onnxruntime"]["spec"]["image"] == "own.example/podium/serving:1.2.3"
    assert made["torchserve"]["spec"]["image"] == "mirror.example/hub/pytorch/torchserve:0.12.0-cpu"
    for item in made.values():
        assert item["metadata"]["labels"] == {"podium.dev/builtin": "true"}
        ModelRuntimeSpec.parse(item["spec"])


def test_rendering_changes_nothing_of_a_runtime_but_its_image() -> None:
    source = {
        item["metadata"]["name"]: item for item in yaml.safe_load_all((CHART / "files/runtimes.yaml").read_text())
    }

    assert runtimes("image.tag=0.1.0") == source


def test_the_runtimes_file_is_made_of_its_sources() -> None:
    result = subprocess.run(
        [sys.executable, "charts/embed_runtimes.py", "--check"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr


def test_what_torchserve_runs_arrives_as_it_was_written_and_in_the_python_of_its_image() -> None:
    files = {item["path"]: item["template"] for item in runtimes()["torchserve"]["spec"]["files"]}

    for source in Path("charts/runtimes").glob("*.py"):
        text = files[f"/etc/podium/{source.name}"]
        assert text == source.read_text()
        ast.parse(text, feature_version=(3, 9))


def test_a_runtime_whose_models_lie_in_a_store_serves_archives_alone() -> None:
    # The layout calls whatever it fetches <name>.mar, and TorchServe opens no bare TorchScript file.
    stores = [item["spec"] for item in runtimes().values() if item["spec"]["layout"] == "Store"]

    assert stores
    assert [spec["formats"] for spec in stores] == [["mar"]] * len(stores)


def test_the_operator_restarts_when_the_runtimes_change() -> None:
    digests = {
        operator(*values)["metadata"]["annotations"]["podium.dev/runtimes-digest"] for values in ((), ("image.tag=x",))
    }

    assert len(digests) == 2
    assert "--runtimes-file=/etc/podium/runtimes.yaml" in arguments()


def test_its_own_emptydir_keeps_no_node_from_being_removed() -> None:
    """The cluster autoscaler leaves a node alone that has a pod with local volumes which nobody calls dispensable."""
    safe = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
    for values in ((), ("watchNamespaces={one}",)):
        template = operator(*values)
        volumes = [each["name"] for each in template["spec"]["volumes"] if "emptyDir" in each]
        assert template["metadata"]["annotations"][safe] == ",".join(volumes)
    own = operator("podAnnotations.note=x")["metadata"]["annotations"]
    assert (own["note"], own[safe]) == ("x", "tmp")


@pytest.mark.parametrize("values", [("watchNamespaces={a}",), ("runtimes.install=false",)])
def test_without_the_right_or_the_wish_the_operator_applies_no_runtime(values: tuple[str, ...]) -> None:
    assert of_kind(render(*values), "ConfigMap") == []
    assert not any("--runtimes-file" in argument for argument in arguments(*values))


def test_images_come_from_the_registry_and_with_the_secrets_of_the_values() -> None:
    pod = operator("image.registry=mirror.example/x/", "image.tag=dev", "imagePullSecrets[0].name=pull")["spec"]

    assert pod["containers"][0]["image"] == "mirror.example/x/podium/operator:dev"
    assert "--fetcher-image=mirror.example/x/podium/serving:dev" in pod["containers"][0]["args"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]


def test_the_registry_of_podiums_images_is_not_asked_for_those_of_others() -> None:
    assert runtimes("image.registry=own.example")["torchserve"]["spec"]["image"] == "pytorch/torchserve:0.12.0-cpu"


def test_the_local_cluster_runs_the_images_that_are_built_for_it(tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps(podium.values()))

    objects = install_yaml.render(str(binaries.helm()), ["--values", str(values)])

    built = {image.reference for name, image in IMAGES.items() if name != "pause"}
    assert set(install_yaml.images(install_yaml.manifests(objects))) == built


def test_the_readme_names_every_image_that_its_installation_needs() -> None:
    readme = Path("README.md").read_text()
    sets = re.findall(r"^ +--set (\S+)$", readme, re.MULTILINE)
    needed = install_yaml.images(install_yaml.manifests(render(*sets)))

    assert sets
    assert len(needed) == 4
    assert [image for image in needed if image not in readme] == []


def test_the_network_policy_is_there_when_asked_for() -> None:
    assert of_kind(render(), "NetworkPolicy") == []
    policy = only(render("networkPolicy.enabled=true", "networkPolicy.apiServerPorts={6443}"), "NetworkPolicy")

    labels = operator()["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    rules = policy["spec"]["egress"]
    outward = [port["port"] for rule in rules for port in rule.get("ports", [])]
    assert outward == [53, 53, PORT, STATS_PORT, 6443]
    (to,) = next(rule["to"] for rule in rules if "ports" not in rule)
    assert to["namespaceSelector"] == {}
    assert to["podSelector"]["matchExpressions"] == [{"key": LABEL_MODEL, "operator": "Exists"}]


def test_two_releases_in_one_cluster_share_no_name() -> None:
    def named(release: str) -> set[tuple[str, str, str]]:
        result = helm(
            "template", release, CHART, "--namespace", release,
            "--set", "crds.install=false,rbac.aggregate=false,rbac.routers=false",
        )  # fmt: skip
        return {
            (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
            for item in yaml.safe_load_all(result.stdout)
            if item
        }

    assert named("one")
    assert not named("one") & named("two")


def leaves(schema: dict[str, Any], path: str = "") -> list[str]:
    """Paths of the schema's objects that a values file may fill with fields of the chart's own."""
    found = [path] if schema.get("properties") else []
    for name, child in schema.get("properties", {}).items():
        found += leaves(child, f"{path}.{name}" if path else name)
    return found


@pytest.mark.parametrize("path", leaves(json.loads((CHART / "values.schema.json").read_text())))
def test_an_unknown_value_is_refused_at_every_level(path: str) -> None:
    message = refused(f"{path}.typo=1" if path else "typo=1")

    assert "additional properties 'typo' not allowed" in message


@pytest.mark.parametrize(
    "value",
    ["replicas=many", "logLevel=loud", "image.pullPolicy=Sometimes", "watchNamespaces={Team}", "crds.install=maybe"],
)
def test_a_wrong_value_is_refused_by_name(value: str) -> None:
    assert value.partition("=")[0].replace(".", "/") in refused(value)


SET_BY_THE_CHART = {
    *("watch_namespaces", "selector", "lease_namespace", "lease_name", "runtimes_file", "fetcher_image"),
    *("health_port", "metrics_port", "log_level", "router_image", "router_pods"),
    *("prometheus_url", "prometheus_ca_file", "prometheus_token_file", "prometheus_any_query", "prometheus_interval"),
    # Every pod's own: two replicas of one identity would both hold the Lease.
    "identity",
}


def test_prometheus_is_reached_by_its_url_with_ca_and_token_mounted() -> None:
    given = ("prometheus.url=https://p.monitoring.svc:9090", "prometheus.caConfigMap=ca", "prometheus.tokenSecret=key")
    settings = settings_from(arguments(*given, "prometheus.interval=30", "prometheus.anyQuery=true"), {})
    assert settings.prometheus_url == "https://p.monitoring.svc:9090"
    assert (settings.prometheus_interval, settings.prometheus_any_query) == (30.0, True)
    pod = operator(*given)["spec"]
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert settings.prometheus_ca_file == f"{mounted['prometheus-ca']}/ca.crt"
    assert settings.prometheus_token_file == f"{mounted['prometheus-token']}/token"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["prometheus-ca"]["configMap"]["name"] == "ca"
    assert volumes["prometheus-token"]["secret"]["secretName"] == "key"


def test_without_its_url_nothing_of_prometheus_is_mounted_or_opened() -> None:
    settings = settings_from(arguments(), {})
    assert (settings.prometheus_url, settings.prometheus_ca_file, settings.prometheus_token_file) == ("", "", "")
    assert "prometheus" not in str(operator()["spec"]["volumes"])
    assert "9090" not in str(only(render("networkPolicy.enabled=true"), "NetworkPolicy"))
    opened = only(render("networkPolicy.enabled=true", "prometheus.url=http://p"), "NetworkPolicy")["spec"]["egress"]
    assert {"ports": [{"port": 9090, "protocol": "TCP"}]} in opened


def test_the_settings_that_can_be_given_are_those_of_the_operator_that_the_chart_leaves_open() -> None:
    kinds = {float: "#/$defs/seconds", int: "integer", tuple: "string", str: "string"}
    known = {
        field.name.replace("_", "-"): kinds[type(field.default)]
        for field in dataclasses.fields(Settings)
        if field.name not in SET_BY_THE_CHART
    }

    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]
    assert {name: part.get("$ref") or part["type"] for name, part in schema["properties"].items()} == known
    chart = {argument[2:].partition("=")[0].replace("-", "_") for argument in arguments()}
    assert chart == SET_BY_THE_CHART - {"identity"}


@pytest.mark.parametrize(
    "value", ["settings.crash-grase=5", "settings.log-level=debug", "settings.workers=0", "settings.crash-grace=5m"]
)
def test_a_setting_that_the_operator_would_refuse_is_refused_before_it_is_installed(value: str) -> None:
    assert value.partition("=")[0].partition(".")[2] in refused(value)


def test_every_default_is_in_the_schema_and_every_field_of_the_schema_has_a_default() -> None:
    def fields(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        known = set(schema.get("properties", {})) - {"global"}
        assert set(values) == known, path
        for name in known:
            child = schema["properties"][name]
            if child.get("properties") and path + name not in ("resources", "settings"):
                fields(child, values[name], f"{path}{name}.")

    fields(
        json.loads((CHART / "values.schema.json").read_text()), yaml.safe_load((CHART / "values.yaml").read_text()), ""
    )


def test_the_notes_say_what_is_left_to_do() -> None:
    def notes(*values: str) -> str:
        sets = [part for value in values for part in ("--set", value)]
        return helm("install", "podium", CHART, "--dry-run=client", "--namespace", NAMESPACE, *sets).stdout

    assert "every namespace" in notes()
    assert "runtimes.yaml" not in notes().partition("NOTES:")[2]
    assert "runtimes.yaml" in notes("watchNamespaces={a}").partition("NOTES:")[2]
    assert "crds.yaml" in notes("crds.install=false").partition("NOTES:")[2]


def test_the_table_of_values_is_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, "charts/values_table.py", "--check"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr


def test_a_value_without_a_description_is_noticed(tmp_path: Path) -> None:
    shutil.copytree("charts", tmp_path / "charts")
    values = tmp_path / "charts/podium/values.yaml"
    values.write_text(values.read_text() + "\nmystery: 1\n")

    result = subprocess.run(
        [sys.executable, tmp_path / "charts/values_table.py"], capture_output=True, text=True, check=False
    )

    assert "mystery has no comment above it" in result.stderr


def install_yaml_by_make(output: Path, *variables: str) -> str:
    """Runs `make install-yaml` with the packages that the tests run with; returns what it prints."""
    given = [f"BIN={Path(sys.executable).parent}", f"OUTPUT={output}", *variables]
    # -o: the folder .venv is not made for it.
    command = ["make", "--silent", "-o", ".venv/.installed", "install-yaml", *given]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_make_install_yaml_puts_the_registry_into_all_of_its_files(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("runtimes: {registry: mirror.example}\nimage: {tag: 1.2.3}\n")

    said = install_yaml_by_make(tmp_path / "dist", "REGISTRY=own.example/team", f"VALUES={values}")

    own = {f"own.example/team/podium/{name}:1.2.3" for name in ("operator", "serving", "router")}
    others = {"mirror.example/pytorch/torchserve:0.12.0-cpu"}
    texts = {name: (tmp_path / "dist" / name).read_text() for name in ("install.yaml", "runtimes.yaml")}
    named = {name: set(re.findall(r"image[:=] ?([^\s']+)", text)) for name, text in texts.items()}
    assert named == {"install.yaml": own | others, "runtimes.yaml": others | {"own.example/team/podium/serving:1.2.3"}}
    assert all(image in said for image in own | others)


def test_make_install_yaml_without_a_registry_says_that_there_is_none(tmp_path: Path) -> None:
    said = install_yaml_by_make(tmp_path, "REGISTRY=")

    assert "podium/operator:0.1.0" in said
    assert "REGISTRY=" in said


def test_the_plain_manifests_hold_the_whole_chart_and_nothing_of_helm(tmp_path: Path) -> None:
    command = [sys.executable, "charts/install_yaml.py", "--helm", str(binaries.helm()), "--output", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    files = {path.name: list(yaml.safe_load_all(path.read_text())) for path in tmp_path.iterdir()}

    assert set(files) == {"install.yaml", "crds.yaml", "runtimes.yaml"}
    assert files["install.yaml"][0]["kind"] == "Namespace"
    assert sorted(item["kind"] for item in files["install.yaml"][1:]) == sorted(item["kind"] for item in render())
    assert {item["metadata"]["name"] for item in files["runtimes.yaml"]} == {"onnxruntime", "torchserve"}
    assert [item["kind"] for item in files["crds.yaml"]] == ["CustomResourceDefinition"] * 2
    assert "helm" not in (tmp_path / "install.yaml").read_text().lower()
