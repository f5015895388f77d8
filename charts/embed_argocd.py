"""Writes charts/argocd/argocd-cm.yaml from the Lua scripts beside it.

    python charts/embed_argocd.py [--check]

With --check nothing is written, and the exit code says whether the file is up to date.
"""

import sys
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "argocd"
TARGET: Final = SOURCES / "argocd-cm.yaml"
COMMANDS: Final = ("promote", "abort", "retry", "pause", "resume", "restart")
FIELDS: Final = ("suspend", "unsuspend")
HEADER: Final = """\
# What Argo CD must know of Podium's kinds, made by charts/embed_argocd.py: change the Lua files beside it instead.
# It is laid over the ConfigMap that Argo CD has:
#     kubectl apply --server-side --namespace argocd -f charts/argocd/argocd-cm.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  labels:
    app.kubernetes.io/name: argocd-cm
    app.kubernetes.io/part-of: argocd
data:
"""


def whole() -> str:
    """The whole file."""
    entries = (
        ("health", "ModelDeployment", _script("ModelDeployment/health.lua")),
        ("actions", "ModelDeployment", _actions()),
        ("health", "ModelRuntime", _script("ModelRuntime/health.lua")),
    )
    data = "".join(
        f"  resource.customizations.{what}.podium.dev_{kind}: |\n{_indented(text, 4)}" for what, kind, text in entries
    )
    return HEADER + data


def _actions() -> str:
    """The YAML text that Argo CD reads within its ConfigMap."""
    revisions, command = _script("ModelDeployment/revisions.lua"), _script("ModelDeployment/command.lua")
    scripts = {verb: f'local verb = "{verb}"\n{revisions}{command}' for verb in COMMANDS}
    scripts |= {field: _script(f"ModelDeployment/{field}.lua") for field in FIELDS}
    discovery = revisions + _script("ModelDeployment/discovery.lua")
    found = f"discovery.lua: |\n{_indented(discovery, 2)}definitions:\n"
    for name, script in scripts.items():
        found += f"- name: {name}\n  action.lua: |\n{_indented(script, 4)}"
    return found


def _script(name: str) -> str:
    return (SOURCES / name).read_text()


def _indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}".rstrip() + "\n" for line in text.splitlines())


def main() -> None:
    """Write the file, or check it."""
    if "--check" in sys.argv[1:]:
        sys.exit(0 if TARGET.read_text() == whole() else f"{TARGET} is out of date: run python charts/embed_argocd.py")
    TARGET.write_text(whole())


if __name__ == "__main__":
    main()
