"""Writes the plain manifests: dist/install.yaml, dist/crds.yaml and dist/runtimes.yaml.

    python charts/install_yaml.py [--helm helm] [--output dist] [helm's own --set and --values arguments]

install.yaml is the whole of a cluster-wide installation into the namespace podium-system: namespace,
CustomResourceDefinitions, operator, and the built-in ModelRuntimes in a ConfigMap that the operator applies. crds.yaml
and runtimes.yaml are what a cluster administrator applies once where operators look after single namespaces: they are
whole although the values of such an operator leave them out. At the end it prints the images that they name.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parent / "podium"
RELEASE: Final = "podium"
NAMESPACE: Final = "podium-system"
NO_REGISTRY: Final = """\
podium/... has no registry in its name, and no public one has these images: build them, put them into a registry of
yours, and name it, as in make install-yaml REGISTRY=registry.example.com
"""

WHOLE: Final = ("--set", "crds.install=true,runtimes.install=true,watchNamespaces=null")
"""What makes crds.yaml and runtimes.yaml whole, whatever the values say."""
_IMAGES: Final = ("--fetcher-image=", "--router-image=")


def render(helm: str, arguments: list[str]) -> list[dict[str, Any]]:
    """The objects that `helm template` makes of the chart."""
    command = [helm, "template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def manifests(objects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The objects of each file, by its name, in an order in which they can be applied."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    crds = [_plain(item) for item in objects if item["kind"] == "CustomResourceDefinition"]
    others = [_plain(item) for item in objects if item["kind"] != "CustomResourceDefinition"]
    runtimes = [
        document
        for item in others
        if item["kind"] == "ConfigMap" and "runtimes.yaml" in item["data"]
        for document in yaml.safe_load_all(item["data"]["runtimes.yaml"])
    ]
    return {"install.yaml": [namespace, *crds, *others], "crds.yaml": crds, "runtimes.yaml": runtimes}


def images(files: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The images that the objects of `manifests` name, and so make nodes pull, sorted."""
    found: set[str] = set()
    for item in (item for objects in files.values() for item in objects):
        if item["kind"] == "ModelRuntime":
            found.add(item["spec"]["image"])
        elif item["kind"] == "Deployment":
            for container in item["spec"]["template"]["spec"]["containers"]:
                found.add(container["image"])
                found |= {word.partition("=")[2] for word in container["args"] if word.startswith(_IMAGES)}
    return sorted(found)


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """Without what only Helm reads."""
    metadata = item["metadata"]
    labels = {key: value for key, value in metadata.get("labels", {}).items() if not key.startswith("helm.sh/")}
    if labels.get("app.kubernetes.io/managed-by") == "Helm":
        del labels["app.kubernetes.io/managed-by"]
    annotations = {
        key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith("helm.sh/")
    }
    kept = {key: value for key, value in metadata.items() if key not in ("labels", "annotations")}
    if labels:
        kept["labels"] = labels
    if annotations:
        kept["annotations"] = annotations
    return {**item, "metadata": kept}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def main() -> None:
    """Write the files and say which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--helm", default="helm", help="the helm to call (default: the one on PATH)")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder to write to (default: dist)")
    options, arguments = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    files = manifests(render(options.helm, arguments))
    whole = manifests(render(options.helm, [*arguments, *WHOLE]))
    files |= {name: whole[name] for name in ("crds.yaml", "runtimes.yaml")}
    for name, objects in files.items():
        path = options.output / name
        path.write_text(yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=120, explicit_start=True))
        sys.stdout.write(f"{path}: {len(objects)} objects\n")
    named = images(files)
    sys.stdout.write("".join(["They name these images:\n", *(f"    {image}\n" for image in named)]))
    if any(image.startswith("podium/") for image in named):
        sys.stdout.write(NO_REGISTRY)


if __name__ == "__main__":
    main()
