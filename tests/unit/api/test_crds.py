"""The CRD files: up to date, small, bounded, described, and nothing in them that does not work yet."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml

from podium.api import crd
from podium.api.base import ApiModel
from podium.api.embedded import EXTRACT
from podium.api.extract import ROOTS
from podium.api.status import ModelDeploymentStatus
from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec


def places(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below `schema` with its path, such as `.spec.volumes[].name`; the root's is empty."""
    waiting = [("", schema)]
    while waiting:
        path, part = waiting.pop()
        yield path, part
        waiting += [(f"{path}.{name}", inner) for name, inner in part.get("properties", {}).items()]
        waiting += [(f"{path}[]", part["items"])] if "items" in part else []
        waiting += [(f"{path}{{}}", part["additionalProperties"])] if "additionalProperties" in part else []


CRDS = Path(__file__).resolve().parents[3] / "crds"
RENDERED = crd.rendered()
DEFINITIONS = {text["spec"]["names"]["kind"]: text for text in map(yaml.safe_load, RENDERED.values())}
SCHEMAS = {kind: body["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind, body in DEFINITIONS.items()}
NODES = [(f"{kind}{path}", node) for kind, schema in SCHEMAS.items() for path, node in places(schema)]


@pytest.mark.parametrize("name", RENDERED)
def test_the_file_is_what_the_models_say_byte_by_byte(name: str) -> None:
    """If not: python -m podium.api.crd."""
    assert (CRDS / name).read_bytes() == RENDERED[name].encode()


def test_no_other_file_lies_beside_them() -> None:
    assert {path.name for path in CRDS.iterdir()} == set(RENDERED)


def test_they_are_under_200_kilobytes_together() -> None:
    assert sum(len(text.encode()) for text in RENDERED.values()) < 200_000


def test_check_tells_a_stale_file_from_a_fresh_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--check", "--folder", str(tmp_path)]) == 1
    assert crd.main(["--folder", str(tmp_path)]) == 0
    assert crd.main(["--check", "--folder", str(tmp_path)]) == 0
    changed = next(tmp_path.iterdir())
    changed.write_text(changed.read_text() + "\n")
    assert crd.main(["--check", "--folder", str(tmp_path)]) == 1
    assert str(changed) in capsys.readouterr().err


def _bound(node: dict[str, Any]) -> str | None:
    """The keyword that must bound the node; None for what needs none."""
    if node.get("x-kubernetes-int-or-string"):
        return "maxLength"
    match node["type"]:
        case "string":
            return None if "enum" in node else "maxLength"
        case "array":
            return "maxItems"
        case "object" if "additionalProperties" in node:
            return "maxProperties"
        case _:
            return None


def test_every_text_list_and_map_is_bounded() -> None:
    fixed = ("apiVersion", "kind")  # the API server knows them
    unbounded = [
        path
        for path, node in NODES
        if (keyword := _bound(node)) and keyword not in node and path.partition(".")[2] not in fixed
    ]
    assert not unbounded


def test_no_schema_is_open() -> None:
    """An object lists its properties or says what its values are: nothing is stored that nobody described."""
    open_ = [
        path
        for path, node in NODES
        if node.get("x-kubernetes-preserve-unknown-fields")
        or (node.get("type") == "object" and not node.get("properties") and "additionalProperties" not in node)
    ]
    assert {path.partition(".")[2] for path in open_} == {"metadata"}


def _own_fields(model: type[ApiModel], path: str) -> Iterator[str]:
    """Paths of the fields that the models declare; a Kubernetes type is one field, whatever is inside it."""
    for field in model.model_fields.values():
        here = f"{path}.{field.alias}"
        yield here
        for part, suffix in _models_in(field.annotation):
            yield from _own_fields(part, here + suffix)


def _models_in(annotation: Any, suffix: str = "") -> Iterator[tuple[type[ApiModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        yield annotation, suffix
    inner = "[]" if get_origin(annotation) in (list, tuple) else ""
    for part in get_args(annotation):
        yield from _models_in(part, suffix + inner)


OWN_PATHS = {
    *_own_fields(ModelDeploymentSpec, "ModelDeployment.spec"),
    *_own_fields(ModelDeploymentStatus, "ModelDeployment.status"),
    *_own_fields(ModelRuntimeSpec, "ModelRuntime.spec"),
    *("ModelDeployment.spec", "ModelDeployment.status", "ModelRuntime.spec"),
}
OWN = [(path, node) for path, node in NODES if path in OWN_PATHS]


def test_every_field_of_our_own_is_described() -> None:
    assert {path for path, _ in OWN} == OWN_PATHS
    assert not [path for path, node in OWN if not node.get("description", "").endswith(".")]


def test_every_field_of_a_spec_says_its_default_or_that_it_has_none() -> None:
    silent = [
        path for path, node in OWN if ".spec." in path and not re.search(r"Default: |No default\.", node["description"])
    ]
    assert not silent


def test_the_default_that_a_description_names_is_the_default() -> None:
    wrong = [
        f"{path}: {node['default']!r}"
        for path, node in OWN
        if ".spec." in path
        and "default" in node
        and not isinstance(node["default"], dict)
        and path != "ModelDeployment.spec.rollout.steps"  # its default is told in words
        and not node["description"].endswith(f"Default: {json.dumps(node['default']).strip(chr(34))}.")
    ]
    assert not wrong


def test_every_number_says_its_unit() -> None:
    units = re.compile(
        r"[Ss]econds|[Nn]umber of|pods|numeric id|[Pp]ort of|metadata.generation|percent|[Ww]hich step", re.IGNORECASE
    )
    silent = [path for path, node in OWN if node.get("type") == "integer" and not units.search(node["description"])]
    assert not silent


def test_every_duration_is_called_one() -> None:
    silent = [
        path
        for path, node in OWN
        if any("duration(" in rule["rule"] for rule in node.get("x-kubernetes-validations", []))
        and node.get("type") == "string"
        and "duration such as" not in node["description"]
    ]
    assert not silent


def test_types_of_kubernetes_carry_no_descriptions() -> None:
    described = [path.removesuffix("[]") for path, node in NODES if "description" in node]
    assert not set(described) - OWN_PATHS - set(SCHEMAS)


def test_every_rule_says_what_to_do() -> None:
    rules = [rule for _, node in NODES for rule in node.get("x-kubernetes-validations", [])]
    way_out = re.compile(r": [a-z]+ |must be|must begin|such as|there are|exactly one")
    said = [rule.get("messageExpression", rule["message"]) for rule in rules]
    assert rules
    assert not [sentence for sentence in said if not way_out.search(sentence)]


def test_only_what_works_is_in_the_crds() -> None:
    spec = SCHEMAS["ModelDeployment"]["properties"]["spec"]["properties"]
    assert spec["rollout"]["properties"]["strategy"]["enum"] == ["RollingUpdate", "BlueGreen", "Canary"]
    assert spec["traffic"]["properties"]["router"]["enum"] == ["None", "Envoy"]
    metrics = spec["rollout"]["properties"]["analysis"]["properties"]["metrics"]["items"]["properties"]
    assert metrics["type"]["enum"] == ["ErrorRate", "Rejections", "Abandoned", "Latency", "Prometheus"]
    later = {"abTest", "shadow", "signature", "sticky", "gateway", "unit", "role"}
    asked = {path for path, _ in OWN if path.startswith("ModelDeployment") and ".status." not in path}
    assert not later & {path.rpartition(".")[2] for path in asked}


def test_volumes_are_the_allowed_kinds_and_no_host_is_within_reach() -> None:
    pod = SCHEMAS["ModelDeployment"]["properties"]["spec"]["properties"]["podTemplate"]["properties"]
    kinds = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "csi", "image"}
    assert set(pod["volumes"]["items"]["properties"]) == {"name", *kinds}
    assert set(pod["securityContext"]["properties"]) == {"fsGroup", "supplementalGroups", "runAsUser", "seLinuxOptions"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "automountServiceAccountToken"} & set(pod)


def test_subresources_names_and_columns_are_those_of_the_design() -> None:
    body = DEFINITIONS["ModelDeployment"]["spec"]
    version = body["versions"][0]
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    assert (body["scope"], body["names"]["shortNames"], body["names"]["categories"]) == (
        "Namespaced",
        ["mdep"],
        ["podium"],
    )
    columns = [(column["name"], column.get("priority", 0)) for column in version["additionalPrinterColumns"]]
    assert columns == [
        ("Ready", 0),
        ("Phase", 0),
        ("Champion", 0),
        ("Candidate", 0),
        ("Weight", 0),
        ("Age", 0),
        ("Runtime", 1),
        ("Replicas", 1),
        ("Message", 1),
    ]
    assert DEFINITIONS["ModelRuntime"]["spec"]["scope"] == "Cluster"


def test_the_extract_of_kubernetes_holds_only_what_is_used() -> None:
    extract = json.loads(EXTRACT.read_text())
    used = set(re.findall(r'"\$ref": "([^"]+)"', EXTRACT.read_text()))
    assert set(extract) == used | set(ROOTS)
    assert '"description"' not in EXTRACT.read_text()
