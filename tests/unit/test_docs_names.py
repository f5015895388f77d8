"""What the pages call by name is there: fields, annotations, arguments, metrics, chart values."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.cli.app import app
from podium.rollout.asked import Asked, Where
from podium.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (
        *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "examples/README.md",
        ROOT / "charts/podium/README.md",
    )
}  # fmt: skip
SOURCES = "\n".join(
    path.read_text()
    for folder in ("operator/src", "serving-image/src", "charts")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".yaml", ".tpl", ".lua")
)
OF_OTHERS = {
    "argocd": {"--kind", "--resource-name"},
    "curl": {"--data"},
    "git": {"--short"},
    "docker": {"--input"},
    "helm": {"--create-namespace", "--kube-version", "--set", "--show-only", "--values"},
    "kubectl": {
        "--cascade", "--docker-password", "--docker-server", "--docker-username", "--field-selector", "--filename",
        "--for", "--force", "--from-file", "--from-literal", "--grace-period", "--overwrite", "--patch", "--prefix",
        "--previous", "--recursive", "--replicas", "--server-side", "--show-managed-fields", "--tail",
    },
    "pytest": {"--basetemp"},
    "tests.cluster, tests.soak": {"--bare", "--canaries", "--folder"},
}  # fmt: skip
"""Arguments of other programs that the pages name."""
NO_FIELDS = {"spec.ports[0].targetPort", "traffic.sidecar.istio.io"}
"""A Service's, in a sentence of docs/messages.md, and the beginning of an annotation."""
FILES = (".md", ".py", ".yaml", ".onnx")


def named(pattern: str) -> Iterator[tuple[str, str]]:
    """(page, name), of every page."""
    for page, text in PAGES.items():
        for name in sorted(set(re.findall(pattern, text))):
            yield page, name


def _schemas() -> list[Any]:
    crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    return [crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds]


SCHEMAS = _schemas()


def _has(schema: dict[str, Any], path: list[str]) -> bool:
    if not path or schema.get("x-kubernetes-preserve-unknown-fields"):
        return True
    if "items" in schema:
        return _has(schema["items"], path)
    inner = schema.get("properties", {}).get(path[0]) or schema.get("additionalProperties")
    return isinstance(inner, dict) and _has(inner, path[1:])


def test_every_field_is_one_of_the_CRDs() -> None:
    """Named from `spec` on or, within a sentence on a rollout, from `rollout` on and the like."""
    first = "spec|status|rollout|analysis|rollingUpdate|autoscaling|model|runtime|podTemplate|traffic"
    found = [
        each
        for each in named(rf"(?<![\w./-])(?:{first})(?:\.[A-Za-z]\w*(?:\[[^\]]*\])?)+")
        if each[1] not in NO_FIELDS and not each[1].endswith(FILES)
    ]

    assert len({name for _, name in found}) > 40
    assert [each for each in found if not _is_field(re.sub(r"\[[^\]]*\]", "", each[1]).split("."))] == []


def _is_field(path: list[str]) -> bool:
    under = ((), ("spec",), ("spec", "rollout"), ("status",))
    return any(_has(schema, [*above, *path]) for schema in SCHEMAS for above in under)


def test_every_annotation_and_label_is_written_or_read_somewhere() -> None:
    known = set(re.findall(r"podium\.dev/[a-z0-9-]+", SOURCES)) | {
        f"podium.dev/{name}" for name in re.findall(r'\{GROUP\}/([a-z0-9-]+)"', SOURCES)
    }

    assert [each for each in named(r"podium\.dev/[a-z0-9]+(?:-[a-z0-9]+)*") if each[1] not in known] == []


def test_every_argument_is_one_of_the_operator_of_the_command_line_or_of_a_program_that_is_known() -> None:
    known = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Settings)}
    known |= set(_arguments(typer.main.get_command(app))) | set().union(*OF_OTHERS.values())
    found = list(named(r"(?<![\w-])--[a-z][a-z-]+"))

    assert [each for each in found if each[1] not in known] == []
    assert {argument for program in OF_OTHERS.values() for argument in program} <= {name for _, name in found}


def _arguments(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for each in getattr(command, "commands", {}).values():
        yield from _arguments(each)


def test_every_metric_is_exported() -> None:
    exported = set(re.findall(r'"(podium_\w+)"', SOURCES))
    found = list(named(r"\bpodium_(?!serving\b)[a-z_]+"))

    assert len(found) > 5
    assert [each for each in found if each[1].removesuffix("_total") not in exported] == []


def test_every_value_of_the_chart_that_is_named_with_its_path_is_there() -> None:
    values = yaml.safe_load((ROOT / "charts/podium/values.yaml").read_text())
    found = [
        each
        for each in named(r"(?:`|--set )([a-zA-Z]+(?:\.[A-Za-z]+)+)(?=[`=])")
        if each[1].partition(".")[0] in values and not each[1].endswith(FILES)
    ]

    assert len(found) > 10
    assert [each for each in found if not _is_value(values, each[1].split("."))] == []


def _is_value(values: Any, path: list[str]) -> bool:
    if not path or values == {}:
        return True
    return isinstance(values, dict) and path[0] in values and _is_value(values[path[0]], path[1:])


def test_what_the_page_on_evidence_calls_defaults_are_those() -> None:
    (example,) = re.findall(
        r"```yaml\n(spec:\n(?:.*\n)*?.*these are the defaults\n(?:.*\n)*?)```", PAGES["docs/evidence.md"]
    )
    spec = yaml.safe_load(example)["spec"]
    bare = {**spec, "rollout": {key: value for key, value in spec["rollout"].items() if key != "analysis"}}

    def asked(spec: dict[str, Any]) -> object:
        return Asked.of(ModelDeploymentSpec.parse(spec), Where.ROUTERS, by_default=True).to_json()

    assert asked(spec) == asked(bare)
