"""Objects as earlier versions of Podium left them in the API server: nothing of them may roll out or restart by itself.

One file per commit whose objects somebody has, and a folder with the CRDs that they were stored under. Neither is ever
edited.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from podium.manifests.owner import Owner, owner_reference

Object = dict[str, Any]
COMMITS: Final = sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def crds(commit: str) -> Path:
    """The folder with the CRDs of a commit."""
    return Path(__file__).parent / "crds" / commit


@dataclass(frozen=True)
class Stored:
    """A ModelDeployment that serves, and the children that keep its record and its pods."""

    model_deployment: Object
    record: Object
    deployment: Object

    def children(self, namespace: str, uid: str) -> tuple[Object, Object]:
        """Record and Deployment in a namespace, owned by the ModelDeployment of that uid."""
        owner = Owner(self.model_deployment["metadata"]["name"], namespace, uid)
        return _owned(self.record, owner), _owned(self.deployment, owner)


def stored(commit: str) -> Stored:
    """What is in the file of a commit."""
    text = (Path(__file__).parent / f"{commit}.yaml").read_text()
    return Stored(*yaml.load_all(text, yaml.CSafeLoader))


def _owned(obj: Object, owner: Owner) -> Object:
    found = copy.deepcopy(obj)
    found["metadata"] |= {"namespace": owner.namespace, "ownerReferences": [owner_reference(owner)]}
    return found
