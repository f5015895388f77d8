"""CEL rules of the embedded Kubernetes types, and those that several fields share."""

from typing import Final

from podium.api import names
from podium.api.schema import Rule
from podium.api.templates import TEXT_PATTERN, VARIABLES

QUANTITY_PATTERN: Final = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$"
VOLUME_KINDS: Final = ("configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "csi", "image")
ENV_SOURCES: Final = ("configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef")
PROBE_HANDLERS: Final = ("exec", "grpc", "httpGet", "tcpSocket")
ENV_PREFIX: Final = "PODIUM_"
VOLUME_PREFIX: Final = "podium-"
RESERVED_LABELS: Final = (names.LABEL_MANAGED_BY, names.LABEL_INSTANCE)
RESERVED_ANNOTATIONS: Final = (
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
)
"""Beginnings of annotations that would loosen the security profile."""


def _one_of(fields: tuple[str, ...]) -> str:
    return f"[{', '.join(f'has(self.{field})' for field in fields)}].filter(set, set).size() == 1"


UNKNOWN_VARIABLE: Final = "names a variable that does not exist"
"""Which one, and which exist, only the expression says: the rule is in the CRD 20 times, and the CRDs are large."""
TEMPLATE: Final = Rule(
    rf"self.matches(r'{TEXT_PATTERN}')",
    UNKNOWN_VARIABLE,
    # What is left once the variables that exist are taken out is the one that does not.
    expression="self"
    + "".join(f".replace('{{{{{name}}}}}', '')" for name in VARIABLES)
    + r""".find(r'\{\{[^}]*\}?\}?') + ' """
    + UNKNOWN_VARIABLE
    + "; there are "
    + ", ".join(VARIABLES)
    + ", as in {{model}}'",
)

ENV_VAR: Final = (
    Rule(
        f"!self.name.startsWith('{ENV_PREFIX}')",
        f"env: names that begin with {ENV_PREFIX} are set by Podium: choose another name",
        field=".name",
        shown="self.name",
    ),
    Rule(
        r"self.name.matches(r'^[!-<>-~]+$')",
        "env: name must be of printable ASCII characters without spaces and =, such as LOG_LEVEL",
        field=".name",
        shown="self.name",
    ),
    Rule(
        "!has(self.valueFrom) || !has(self.value) || self.value == ''",
        "env: set value or valueFrom, not both",
        field=".valueFrom",
    ),
)
ENV_SOURCE: Final = (Rule(_one_of(ENV_SOURCES), f"env: valueFrom needs exactly one of {', '.join(ENV_SOURCES)}"),)
RESOURCES: Final = (
    Rule(
        "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
        "quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
        "resources: a request exceeds the limit of the same name: lower it in requests or raise it in limits",
        field=".requests",
    ),
)
PROBE: Final = (Rule(_one_of(PROBE_HANDLERS), f"probe: set exactly one of {', '.join(PROBE_HANDLERS)}"),)
VOLUME: Final = (
    Rule(
        _one_of(VOLUME_KINDS),
        f"volumes: each needs exactly one of {', '.join(VOLUME_KINDS)}; other kinds, such as hostPath, are refused",
    ),
    Rule(
        r"self.name.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "volumes: name must be of lower-case letters, digits and -, beginning and ending with a letter or digit",
        field=".name",
        shown="self.name",
    ),
    Rule(
        f"!self.name.startsWith('{VOLUME_PREFIX}')",
        f"volumes: names that begin with {VOLUME_PREFIX} are Podium's own: choose another name",
        field=".name",
        shown="self.name",
    ),
)
VOLUME_MOUNT: Final = (
    Rule(
        # Segments that are neither "." nor "..": a way round the next rule otherwise.
        r"self.mountPath.matches(r'^(/([^/:.][^/:]*|\.[^/:.][^/:]*|\.\.[^/:]+))+$')",
        "volumeMounts: mountPath must be an absolute path such as /data, without :, . or .. segments and / at its end",
        field=".mountPath",
        shown="self.mountPath",
    ),
    Rule(
        "!(self.mountPath in ['/tmp', '/models']) && !self.mountPath.startsWith('/models/')",
        "volumeMounts: mountPath /tmp and all of /models are Podium's own: choose another path",
        field=".mountPath",
        shown="self.mountPath",
    ),
    Rule(
        "!has(self.subPath) || !has(self.subPathExpr)",
        "volumeMounts: set subPath or subPathExpr, not both",
        field=".subPathExpr",
        shown="self.subPathExpr",
    ),
)

OF_TYPES: Final[dict[str, tuple[Rule, ...]]] = {
    "EnvVar": ENV_VAR,
    "EnvVarSource": ENV_SOURCE,
    "Probe": PROBE,
    "ResourceRequirements": RESOURCES,
    "Volume": VOLUME,
    "VolumeMount": VOLUME_MOUNT,
}
"""Rules by the Kubernetes type that they stand at."""

_OWN_DOMAIN: Final = f"key.matches(r'^([^/]+\\.)?{names.GROUP.replace('.', '[.]')}(/|$)')"

LABELS: Final = (
    Rule(
        "self.all(key, !format.qualifiedName().validate(key).hasValue())",
        "each key must be a label's name, such as team or example.com/team: correct it",
    ),
    Rule(
        "self.all(key, !format.labelValue().validate(self[key]).hasValue())",
        "each value must be at most 63 letters, digits, -, _ or ., beginning and ending with a letter or digit",
    ),
)
OWN_LABELS: Final = (
    *LABELS,
    Rule(
        f"self.all(key, !{_OWN_DOMAIN})",
        f"labels: keys of {names.GROUP} are written by Podium: choose a domain of your own",
    ),
    Rule(
        f"self.all(key, !(key in {list(RESERVED_LABELS)}))",
        f"labels: {' and '.join(RESERVED_LABELS)} are written by Podium: leave them out",
    ),
)
OWN_ANNOTATIONS: Final = (
    Rule(
        "self.all(key, !format.qualifiedName().validate(key.lowerAscii()).hasValue())",
        "annotations: each key must be an annotation's name, such as note or example.com/note: correct it",
    ),
    Rule(
        f"self.all(key, !{_OWN_DOMAIN})",
        f"annotations: keys of {names.GROUP} are written by Podium: choose a domain of your own",
    ),
    Rule(
        "self.all(key, !(" + " || ".join(f"key.startsWith('{start}')" for start in RESERVED_ANNOTATIONS) + "))",
        "annotations: keys of "
        + " and ".join(start.rstrip("/") for start in RESERVED_ANNOTATIONS)
        + " loosen the security profile and are refused: leave them out",
    ),
)
