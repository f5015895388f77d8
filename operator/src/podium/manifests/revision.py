"""Revisions: a spec and a runtime, resolved once into a pod template, and kept in a ControllerRevision."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from podium.api import names
from podium.api.uris import shown_version
from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec, inputs_of
from podium.manifests.canonical import canonical, digest, short_hash
from podium.manifests.container import container_ports
from podium.manifests.counting import Counting
from podium.manifests.errors import INVALID_RUNTIME, UNSUPPORTED_FORMAT, MalformedRevision, Unresolvable
from podium.manifests.fetch import Fetcher
from podium.manifests.owner import Owner, child_metadata
from podium.manifests.pod import pod_template
from podium.packed import Packed, pack, unpacked

PLACEHOLDER: Final = "{{revision}}"
"""Stands for the revision's name in the template that the name is a hash of."""
MARK: Final = "revision-2f6d8a51c3e94b07a1d05c7be8463f92"
"""Stands for the name while the template is made. That is most of what resolving costs, so it is done once, and the
name put in afterwards. Unlike PLACEHOLDER, nobody else writes this text; JSON leaves it as it is."""

FIELDS: Final = ("hash", "inputs", "version", "runtime", "protocol", "ports", "metrics", "template")
"""Of a ControllerRevision's data."""
WORD: Final = 1024
"""Characters of the longest name or version: each is shorter in every spec that the API server takes."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a ControllerRevision's data says. Nothing of it ever changes."""

    name: str
    hash: str
    number: int
    """Counts a ModelDeployment's revisions, from 1."""
    inputs: str
    """SHA-256 of what `source` says, 64 hex digits: equal inputs are the same model, whatever the runtime is by now."""
    source: Packed
    """The user's model, runtime and podTemplate, without fields equal to a default that was known when it was made."""
    version: str
    """For people; empty when neither spec.model.version nor the URI gives one."""
    runtime: str
    """Name of the ModelRuntime."""
    protocol: str
    packed_template: Packed
    """Pod template, filled in: what is applied, verbatim."""
    ports: dict[str, int]
    """Container ports by name: http, and grpc and metrics where the runtime has them."""
    counting: Counting | None = None
    """How its pods say what they have answered. No part of the hash: nobody is restarted to be counted."""

    @property
    def template(self) -> dict[str, Any]:
        """The pod template to look into, anew each time."""
        found: dict[str, Any] = self.packed_template.unpack()
        return found


def inputs_digest(source: dict[str, Any]) -> str:
    """SHA-256, 64 hex digits, of what the user wrote: `spec.inputs()`, or what a record keeps of it.

    By the defaults that are known now, so that records of an earlier Podium compare with the specs of today.
    """
    return digest(inputs_of(source))


def resolve(
    owner: Owner,
    spec: ModelDeploymentSpec,
    runtime: ModelRuntimeSpec,
    fetcher: Fetcher,
    *,
    number: int,
    token: str = "",
    collisions: int = 0,
) -> Revision:
    """Fit spec and runtime together into a revision.

    `token` is that of a `restart`: with it the revision is always a new one. `collisions` is raised by the caller while
    the name belongs to a revision of other content. Raises Unresolvable when spec and runtime do not fit.
    """
    _check_format(spec, runtime)
    inputs = spec.inputs()
    version = shown_version(spec.model.version, spec.model.uri)

    try:
        marked = canonical(pod_template(owner, spec, runtime, fetcher, revision=MARK, token=token, version=version))
    except KeyError as error:
        raise Unresolvable(
            INVALID_RUNTIME,
            f"ModelRuntime {spec.runtime.name}: layout {error} is not known to this version of Podium",
        ) from error
    unnamed = orjson.loads(marked.replace(MARK, PLACEHOLDER))
    del unnamed["metadata"]["labels"][names.LABEL_REVISION]
    short = short_hash([inputs, unnamed, token, collisions])
    name = f"{owner.name}-{short}"
    # before `source`: the first text that is packed becomes the dictionary for all others (packed.py)
    packed = pack(orjson.loads(marked.replace(MARK, name)))
    return Revision(
        name=name,
        hash=short,
        number=number,
        inputs=inputs_digest(inputs),
        source=pack(inputs),
        version=version,
        runtime=spec.runtime.name,
        protocol=runtime.protocol,
        packed_template=packed,
        ports=container_ports(runtime),
        counting=Counting.of(runtime),
    )


def controller_revision(owner: Owner, revision: Revision, annotations: dict[str, str]) -> dict[str, Any]:
    """The ControllerRevision that keeps `revision`; `annotations` are the durable record (podium.dev/rollout ...)."""
    own = {names.ANNOTATION_INPUTS: revision.inputs}
    if revision.version:
        own[names.ANNOTATION_VERSION] = revision.version
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": child_metadata(
            owner, revision.name, names.revision_labels(owner.name, revision.name), own | annotations
        ),
        "revision": revision.number,
        "data": {
            "hash": revision.hash,
            "inputs": revision.source,
            "version": revision.version,
            "runtime": revision.runtime,
            "protocol": revision.protocol,
            "ports": revision.ports,
            **({"metrics": revision.counting.to_json()} if revision.counting is not None else {}),
            "template": revision.packed_template,
        },
    }


def revision_of(obj: dict[str, Any]) -> Revision:
    """The revision that a ControllerRevision object holds; MalformedRevision names the object and what it lacks."""
    name = obj["metadata"]["name"]
    try:
        data = obj["data"]
        template = pack(data["template"])
        words = {key: _word(data[key]) for key in ("hash", "version", "runtime", "protocol")}
        return Revision(
            name=name,
            number=int(obj["revision"]),
            inputs=inputs_digest(unpacked(data["inputs"])),
            source=pack(data["inputs"]),
            packed_template=template,
            ports={_word(port): int(number) for port, number in dict(unpacked(data["ports"])).items()},
            counting=Counting.from_json(data.get("metrics")),
            **words,
        )
    except (KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise MalformedRevision(
            f"ControllerRevision {obj['metadata'].get('namespace', '')}/{name} is not one that Podium wrote: {why}"
        ) from error


def _word(value: Any) -> str:
    """A name or a version as it was written, packed or not; ValueError for what Podium writes nowhere."""
    text = unpacked(value)
    if not isinstance(text, str) or len(text) > WORD:
        raise ValueError(f"a word of at most {WORD} letters is expected")
    return text


def _check_format(spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec) -> None:
    if spec.model.format and runtime.formats and spec.model.format not in runtime.formats:
        raise Unresolvable(
            UNSUPPORTED_FORMAT,
            f"spec.model.format: ModelRuntime {spec.runtime.name} does not serve {spec.model.format}, but "
            f"{', '.join(runtime.formats)}: choose another runtime in spec.runtime.name, or convert the model",
        )
