"""For each sentence that a CEL rule of the CRDs may say: values that draw it, and one that does not.

The values stand where the rule stands. A rule without an entry here fails the tests.
"""

from dataclasses import dataclass
from typing import Any

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
ERRORS = {"name": "errors", "type": "ErrorRate"}
QUERY = 'sum(failed_total{namespace="{{namespace}}",pod=~"{{revision}}-.*"})'
CHECKOUT = {"name": "checkout", "type": "Prometheus", "events": QUERY, "total": QUERY.replace("failed", "all")}
SLOW = {"name": "slow", "type": "Latency", "threshold": "250ms"}
CANARY = {"strategy": "Canary", "analysis": {"metrics": [ERRORS]}}
LATENCY = {"strategy": "Canary", "analysis": {"metrics": [ERRORS, SLOW]}}
PROBE = {"httpGet": {"port": "http"}}

SAMPLES: dict[tuple[str, ...], Any] = {
    # Of these the operator alone says what they must be: a rule of CEL would be too large for the CRDs.
    ("spec", "metrics", "path"): "/metrics",
    ("spec", "metrics", "total"): ["a"],
    ("spec", "metrics", "errors"): ["a"],
    ("spec", "metrics", "port"): "http",
    ("spec", "ports", "http"): 8080,
    ("spec", "ports", "grpc"): 8081,
    ("spec", "probes", "readiness"): PROBE,
    ("spec", "podTemplate", "labels", "{}"): "x",
    ("spec", "podTemplate", "volumeMounts", "[]", "mountPath"): "/data",
    ("spec", "rollout", "steps"): [{"weight": 5}],
    ("spec", "rollout", "analysis", "metrics"): [ERRORS],
    ("spec", "rollout", "analysis", "metrics", "[]"): ERRORS,
    ("spec", "rollout", "steps", "[]", "pause"): False,
}
"""Valid values where the schema alone does not lead to one."""


@dataclass(frozen=True)
class Case:
    """Values that break a rule, and a corrected one. `metadata` is set for rules about the object's name."""

    bad: list[Any]
    good: Any


IMAGE = Case(["a b", "\timage"], "registry.example.com/team/server@sha256:" + SHA256)
VARIABLES = (
    "model, namespace, path, uri, format, version, revision, cpuLimit, memoryLimit, httpPort, grpcPort, metricsPort"
)
VOLUME = {"name": "labels", "emptyDir": {}}
MOUNT = {"name": "labels", "mountPath": "/data"}

CASES: dict[str, Case] = {
    # spec.model
    "must begin with s3://, https:// or pvc://: put the model in one of these stores": Case(
        ["gs://models/fraud", "http://models/fraud", "file://models/fraud"], "s3://models/fraud/7"
    ),
    "must be SCHEME://BUCKET, HOST or CLAIM, then /PATH, without spaces and control characters; credentials go into "
    "credentialsSecret": Case(
        [
            "s3://",
            "s3:///fraud",
            "https://user:secret@host/fraud",
            "pvc://claim/a b",
            "s3://models/a\x07b",
            "s3://m\x7f",
        ],
        "https://host:8443/fraud?x=1",
    ),
    "must be 64 lower-case hexadecimal digits, as sha256sum prints them": Case([SHA256[1:], SHA256.upper()], SHA256),
    "must be one line without control characters that neither begins nor ends with a space, such as 2026-03-01": Case(
        [" 7", "7 ", "7\n8", "a\x07b", "\x1b[31m7", "7\x7f", "7\u009b0m7"], "v 7ä"
    ),
    "must be of letters, digits, -, . and _, beginning and ending with a letter or digit, such as onnx": Case(
        ["-onnx", "on nx", "onnx."], "onnx"
    ),
    "must be a number of bytes above 0, with a suffix such as Mi or Gi if need be: 500Mi, 10Gi": Case(
        ["0", "-1Gi", "10 Gi", "10GB", "1e9"], "1.5Gi"
    ),
    "sha256: without uri there are no bytes to check: set model.uri or remove sha256": Case(
        [{"sha256": SHA256}], {"sha256": SHA256, "uri": "s3://models/fraud"}
    ),
    "credentialsSecret: without uri there is no store to log in to: set model.uri or remove credentialsSecret": Case(
        [{"credentialsSecret": "s3-models"}], {"credentialsSecret": "s3-models", "uri": "s3://models/fraud"}
    ),
    "must be a name of lower-case letters, digits, - and ., beginning and ending with a letter or digit": Case(
        ["A", "a_b", "-a", "a.", "a..b"], "a-b.c1"
    ),
    # spec.runtime, and a ModelRuntime
    "must be an image such as registry.example.com/team/server:1.2, without spaces": IMAGE,
    "env: names that begin with PODIUM_ are set by Podium: choose another name": Case(
        [{"name": "PODIUM_MODEL", "value": "x"}, {"name": "PODIUM_"}], {"name": "MODEL_PODIUM_"}
    ),
    "env: name must be of printable ASCII characters without spaces and =, such as LOG_LEVEL": Case(
        [{"name": ""}, {"name": "A B"}, {"name": "A=B"}, {"name": "ä"}], {"name": "a.b-c_D"}
    ),
    "env: set value or valueFrom, not both": Case(
        [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        {"name": "A", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ),
    "env: valueFrom needs exactly one of configMapKeyRef, fieldRef, resourceFieldRef, secretKeyRef": Case(
        [{}, {"fieldRef": {"fieldPath": "status.podIP"}, "secretKeyRef": {"name": "s", "key": "k"}}],
        {"secretKeyRef": {"name": "s", "key": "k"}},
    ),
    "resources: a request exceeds the limit of the same name: lower it in requests or raise it in limits": Case(
        [
            {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}},
            {"requests": {"memory": "1Gi", "cpu": 1}, "limits": {"memory": "1G", "cpu": 1}},
        ],
        {"requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": 2, "nvidia.com/gpu": 1}},
    ),
    # spec.podTemplate
    "each key must be a label's name, such as team or example.com/team: correct it": Case(
        [{"a b": "x"}, {"/x": "x"}, {"x" * 64: "x"}], {"example.com/team": "x"}
    ),
    "each value must be at most 63 letters, digits, -, _ or ., beginning and ending with a letter or digit": Case(
        [{"team": "a b"}, {"team": "-a"}], {"team": "A_1", "other": ""}
    ),
    "labels: keys of podium.dev are written by Podium: choose a domain of your own": Case(
        [{"podium.dev/model": "x"}, {"x.podium.dev/y": "x"}, {"podium.dev": "x"}], {"notpodium.dev/model": "x"}
    ),
    "labels: app.kubernetes.io/managed-by and app.kubernetes.io/instance are written by Podium: leave them out": Case(
        [{"app.kubernetes.io/managed-by": "helm"}, {"app.kubernetes.io/instance": "x"}],
        {"app.kubernetes.io/part-of": "x"},
    ),
    "annotations: each key must be an annotation's name, such as note or example.com/note: correct it": Case(
        [{"a b": "x"}, {"a/b/c": "x"}], {"Example.com/Note": "any text: at all"}
    ),
    "annotations: keys of podium.dev are written by Podium: choose a domain of your own": Case(
        [{"podium.dev/command": "x"}], {"example.com/podium.dev": "x"}
    ),
    "annotations: keys of container.apparmor.security.beta.kubernetes.io and "
    "container.seccomp.security.alpha.kubernetes.io loosen the security profile and are refused: leave them out": Case(
        [
            {"container.apparmor.security.beta.kubernetes.io/model": "unconfined"},
            {"container.seccomp.security.alpha.kubernetes.io/model": "unconfined"},
        ],
        {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
    ),
    "volumes: each needs exactly one of configMap, secret, emptyDir, persistentVolumeClaim, projected, csi, image; "
    "other kinds, such as hostPath, are refused": Case(
        [
            {"name": "x"},
            {"name": "x", "emptyDir": {}, "configMap": {"name": "c"}},
            {"name": "x", "hostPath": {"path": "/"}},
        ],
        VOLUME,
    ),
    "volumes: name must be of lower-case letters, digits and -, beginning and ending with a letter or digit": Case(
        [{"name": "", "emptyDir": {}}, {"name": "A", "emptyDir": {}}, {"name": "a.b", "emptyDir": {}}], VOLUME
    ),
    "volumes: names that begin with podium- are Podium's own: choose another name": Case(
        [{"name": "podium-models", "emptyDir": {}}], VOLUME
    ),
    "volumeMounts: name must be that of an entry of podTemplate.volumes: add the volume or correct the name": Case(
        [{"volumeMounts": [MOUNT]}, {"volumeMounts": [MOUNT], "volumes": [VOLUME | {"name": "other"}]}],
        {"volumeMounts": [MOUNT], "volumes": [VOLUME]},
    ),
    "volumeMounts: mountPath must be an absolute path such as /data, without :, . or .. segments "
    "and / at its end": Case(
        [MOUNT | {"mountPath": path} for path in ("", "data", "/", "/data/", "/a:b", "/a/../models", "/./a", "/a//b")],
        MOUNT | {"mountPath": "/a/.hidden/..c/d.e"},
    ),
    "volumeMounts: mountPath /tmp and all of /models are Podium's own: choose another path": Case(
        [MOUNT | {"mountPath": path} for path in ("/tmp", "/models", "/models/model")],
        MOUNT | {"mountPath": "/models2"},
    ),
    "volumeMounts: set subPath or subPathExpr, not both": Case(
        [MOUNT | {"subPath": "a", "subPathExpr": "$(B)"}], MOUNT | {"subPathExpr": "$(B)"}
    ),
    # numbers and times
    "replicas: must be at least 1 with autoscaling: remove autoscaling to scale to zero, or raise replicas": Case(
        [{"replicas": 0, "autoscaling": {"maxReplicas": 3}}], {"replicas": 1, "autoscaling": {"maxReplicas": 3}}
    ),
    "minReplicas: must not exceed maxReplicas: lower minReplicas or raise maxReplicas": Case(
        [{"minReplicas": 3, "maxReplicas": 2}], {"minReplicas": 2, "maxReplicas": 2}
    ),
    "must be a number of pods such as 1, or a share such as 25%": Case(["25", "%", "a%", "-1%"], "25%"),
    "maxSurge: must not be 0 while maxUnavailable is 0, since no pod could be replaced: raise one of them": Case(
        [
            {"maxSurge": 0},
            {"maxSurge": "0%", "maxUnavailable": 0},
            {"maxSurge": 0, "maxUnavailable": "00%"},
        ],
        {"maxSurge": 0, "maxUnavailable": 1},
    ),
    "must be a duration: whole numbers with the units h, m, s or ms, such as 10m or 1h30m": Case(
        # The corrected one is also within the bounds of every field: a minute, in two parts.
        ["", "10", "10 m", "1d", "1.5h", "-1m", "1h 30m", "ten minutes"],
        "59s1000ms",
    ),
    "must be at most 168h, a week: shorten the duration": Case(["168h1ms", "99999h"], "168h"),
    "must be at least 1s: write a longer duration, such as 10m": Case(["999ms", "0s"], "1000ms"),
    "progressDeadline: must be longer than minReadySeconds, or no pod could be available in time: raise "
    "progressDeadline or lower minReadySeconds": Case(
        [{"progressDeadline": "10s"}, {"minReadySeconds": 600}], {"progressDeadline": "10001ms", "minReadySeconds": 10}
    ),
    "timeout: has no effect without a router: set router to Envoy, or leave timeout out": Case(
        [{"timeout": "30s"}, {"router": "None", "timeout": "1m"}], {"router": "Envoy", "timeout": "30s"}
    ),
    "idleTimeout: has no effect without a router: set router to Envoy, or leave idleTimeout out": Case(
        [{"idleTimeout": "30s"}], {"router": "Envoy", "idleTimeout": "30s"}
    ),
    "maxRequestBytes: has no effect without a router: set router to Envoy, or leave maxRequestBytes out": Case(
        [{"maxRequestBytes": "1Gi"}], {"router": "Envoy", "maxRequestBytes": "1Gi"}
    ),
    "must be at most 24h: shorten the duration": Case(["25h", "48h"], "24h"),
    "must be a number of bytes from 1 to 1Ti, with a suffix such as Ki, Mi or Gi if need be: 64Mi, 1Gi": Case(
        ["0", "64MB", "2Ti", "1.5Gi", "-1", "1000Gi"], "64Mi"
    ),
    "promotion: Manual has no effect on a RollingUpdate, which promotes itself: set strategy to BlueGreen or Canary, "
    "or leave promotion out": Case([{"promotion": "Manual"}], {"promotion": "Manual", "strategy": "Canary"}),
    "steps: each is either a weight or a pause: set weight, such as 25, or pause to true, and not both": Case(
        [{}, {"for": "1m"}, {"pause": False}, {"weight": 5, "pause": True}], {"weight": 5, "pause": False}
    ),
    "steps: for has no effect on a pause, which the command resume ends: remove for": Case(
        [{"pause": True, "for": "1m"}], {"weight": 99, "for": "1m"}
    ),
    "steps: must not be empty: set at least one, such as weight 50, or leave steps out": Case(
        [{"steps": []}], {"steps": [{"pause": True}]}
    ),
    "steps: weights must not fall from one step to the next: put them in rising order, such as 5, 25, 50": Case(
        [
            {"steps": [{"weight": 25}, {"weight": 5}]},
            {"steps": [{"weight": 50}, {"pause": True}, {"weight": 49, "for": "1m"}]},
        ],
        {"steps": [{"weight": 5}, {"pause": True}, {"weight": 5}, {"weight": 50, "for": "0s"}]},
    ),
    # spec.rollout.analysis
    "must be from 1m to 720h: write a duration such as 24h": Case(["59s", "0s", "720h1ms"], "720h"),
    "must be from 1s to 60s: write a duration such as 2s": Case(["999ms", "0s", "61s", "1h"], "1s"),
    "must be from 0s to 1h: write a duration such as 1m": Case(["1h1ms", "2h"], "0s"),
    "must be from 1ms to 10m: write a duration such as 250ms": Case(["0s", "0ms", "601s"], "600s"),
    "must be a share from 0.5 to 0.999, not percent: write 0.95 for 95 percent": Case(
        [95, 1, 0.4999, 0.9991, 0, -0.95], 0.999
    ),
    "must be a ratio above 1, at most 100: write 1.5 for at most half as much again": Case([1, 1.0, 0.5, -2, 101], 2),
    "must be a ratio from 1 to 100: write 1 where any more is harm": Case([0.99, 0, 101], 1),
    "must be of lower-case letters, digits and -, beginning and ending with a letter or digit, such as errors": Case(
        ["A", "a.b", "a_b", "-a", "a-"], "5xx-a"
    ),
    "must be a number of percent from 0 to below 100 with % behind it: write 0.1%, or 0% for none": Case(
        ["0.1", "1", "100%", "-1%", "1 %", ".1%", "1e-3%", "0,1%"], "99.999999%"
    ),
    "threshold: has a meaning for type Latency alone: set type to Latency, or remove threshold": Case(
        [ERRORS | {"threshold": "1s"}], SLOW
    ),
    "names a variable that does not exist; there are {{namespace}} and {{revision}}": Case(
        ['sum(a{x="{{model}}"})', "{{namespace }}", "{{", "{{{{revision}}}}", QUERY + " + {{cpuLimit}}"], QUERY
    ),
    "events and total: type Prometheus needs both, and no other type has them: set both, or remove them": Case(
        [
            {"name": "a", "type": "Prometheus"},
            {"name": "a", "type": "Prometheus", "events": QUERY},
            {"name": "a", "type": "Prometheus", "total": QUERY},
            ERRORS | {"events": QUERY, "total": QUERY},
            ERRORS | {"total": QUERY},
        ],
        CHECKOUT,
    ),
    "harmRatio: must not be above maxRatio, which is 1.5 where it is absent: lower harmRatio or raise maxRatio": Case(
        [ERRORS | {"harmRatio": 1.6}, ERRORS | {"harmRatio": 3, "maxRatio": 2}],
        ERRORS | {"harmRatio": 2, "maxRatio": 2.0},
    ),
    "names must differ: rename one of the metrics, or remove it": Case(
        [[ERRORS, ERRORS | {"type": "Rejections"}], [SLOW, ERRORS, SLOW]],
        [SLOW, ERRORS, SLOW | {"name": "slower", "threshold": "1s"}],
    ),
    "two metrics of one type must not ask the same: change a ratio, tolerate or threshold of one, or remove it": Case(
        [
            [ERRORS, ERRORS | {"name": "again"}],
            [ERRORS, ERRORS | {"name": "again", "maxRatio": 1.5, "harmRatio": 1, "tolerate": "0.1%"}],
            [SLOW, SLOW | {"name": "again", "harmRatio": 1.5, "tolerate": "1%"}],
            [CHECKOUT, CHECKOUT | {"name": "again", "tolerate": "0%"}],
        ],
        [
            ERRORS,
            ERRORS | {"name": "again", "maxRatio": 2},
            SLOW,
            {"name": "slowest", "type": "Latency"},
            CHECKOUT,
            CHECKOUT | {"name": "paid", "events": CHECKOUT["total"]},
        ],
    ),
    "rollout.analysis.metrics: all but ErrorRate need traffic.router: Envoy and rollout.strategy: Canary: set "
    "both, or leave ErrorRate alone": Case(
        [
            {"rollout": LATENCY},
            {"rollout": LATENCY | {"strategy": "BlueGreen"}, "traffic": {"router": "Envoy"}},
            {"rollout": LATENCY | {"strategy": "RollingUpdate"}},
        ],
        {"rollout": CANARY | {"strategy": "RollingUpdate"}},
    ),
    # a ModelRuntime
    "grpc: must differ from http, since the Service tells them apart by port: choose another or leave grpc out": Case(
        [{"http": 8080, "grpc": 8080}], {"http": 8080, "grpc": 8081, "metrics": 8080}
    ),
    "must be an absolute path of letters, digits, -, . and _, such as /etc/server/config.properties": Case(
        ["etc/x", "/etc/", "/etc/../x", "/a b", "/etc//x"], "/home/server/.config/x.properties"
    ),
    "probe: set exactly one of exec, grpc, httpGet, tcpSocket": Case(
        [{}, {"periodSeconds": 1}, PROBE | {"tcpSocket": {"port": 1}}], PROBE
    ),
    "names a variable that does not exist": Case(
        ["{{name}}", "{{ model }}", "{{model", "{{{model}}}", "{{}}", "{{Model}}", "ok {{model}} then {{other}}"],
        "{{model}}{{path}}-{x}}$(A){",
    ),
}

NAMES = {
    "metadata.name: must be at most 50 lower-case letters, digits and -, beginning with a letter and ending with a "
    "letter or digit, since a Service is called by it: choose another name": Case(["9a", "a.b", "a" * 51], "a" * 50),
    "metadata.name: must not end in -preview, which names preview Services: choose another name": Case(
        ["fraud-preview"], "preview"
    ),
    "metadata.name: must not begin with podium-, which names Podium's own objects: choose another name": Case(
        ["podium-x"], "podiumx"
    ),
}
"""The same for rules of metadata.name."""
