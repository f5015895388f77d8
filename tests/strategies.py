"""Hypothesis strategies for valid specs as on the wire, for tests that want any spec rather than a certain one."""

from typing import Any

from hypothesis import strategies as st

Object = dict[str, Any]

LOWER = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"


def _word(alphabet: str, size: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=size)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """A dict with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


labels_ = st.builds(lambda head, tail: head + tail, st.sampled_from(LOWER), st.text(LOWER + DIGITS, max_size=20))
names = st.lists(labels_, min_size=1, max_size=3).map("-".join)
"""Names of objects."""
versions = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=("L", "N", "P")), min_size=1, max_size=40
)
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)
uris = st.one_of(
    st.builds("s3://{}/{}".format, names, names),
    st.builds("https://{}.example.com/{}?v={}".format, names, names, names),
    st.builds("pvc://{}/{}".format, names, names),
    st.builds("s3://{}".format, names),
)
durations = st.lists(
    st.builds("{}{}".format, st.integers(0, 999), st.sampled_from(["ms", "s", "m"])), min_size=1, max_size=4
).map("".join)
percents = st.integers(1, 100).map("{}%".format)
sizes = st.one_of(st.integers(1, 20), percents)
"""A number of pods or a share, not 0."""
quantities = st.one_of(
    st.integers(1, 10_000),
    st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["m", "", "k", "M", "Ki", "Mi", "Gi"])),
    st.sampled_from(["0.5", "1e3", "2.5Gi", ".5"]),
)


@st.composite
def resources(draw: st.DrawFn) -> Object:
    """Requests and limits; where both name a resource they are equal."""
    limits = draw(
        st.dictionaries(st.sampled_from(["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"]), quantities)
    )
    requests = {name: limits.get(name, draw(quantities)) for name in draw(st.sets(st.sampled_from(["cpu", "memory"])))}
    return {key: value for key, value in (("limits", limits), ("requests", requests)) if value}


sources = st.one_of(
    st.builds(lambda name, key: {"secretKeyRef": {"name": name, "key": key}}, names, names),
    st.builds(lambda name, key: {"configMapKeyRef": {"name": name, "key": key, "optional": True}}, names, names),
    st.just({"fieldRef": {"fieldPath": "metadata.namespace"}}),
    st.just({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}),
)
variables = st.lists(
    st.one_of(
        st.builds(lambda name, value: {"name": name, "value": value}, labels_.map(str.upper), texts),
        st.builds(lambda name, source: {"name": name, "valueFrom": source}, labels_, sources),
        st.builds(lambda name: {"name": name}, labels_),
    ),
    max_size=4,
    unique_by=lambda variable: variable["name"],
)
labels = st.dictionaries(
    st.one_of(labels_, st.builds("{}.example.com/{}".format, labels_, labels_)),
    st.one_of(st.just(""), labels_),
    max_size=3,
)
annotations = st.dictionaries(st.builds("example.com/{}".format, labels_), texts, max_size=3)

models = st.one_of(
    optional(version=versions, format=labels_),
    st.builds(
        lambda uri, rest: {"uri": uri} | rest,
        uris,
        optional(
            format=labels_,
            version=versions,
            sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
            credentialsSecret=names,
            storage=optional(sizeLimit=st.sampled_from(["500Mi", "10Gi", "1.5G", "1000000"])),
        ),
    ),
)
runtimes = optional(
    name=names,
    image=st.builds("registry.example.com/{}:{}".format, names, names),
    imagePullPolicy=st.sampled_from(["Always", "IfNotPresent", "Never"]),
    args=st.lists(texts, max_size=3),
    env=variables,
    resources=resources(),
)

kinds = st.one_of(
    st.builds(lambda name: {"configMap": {"name": name, "items": [{"key": "a", "path": "b", "mode": 292}]}}, names),
    st.builds(lambda name: {"secret": {"secretName": name, "optional": True}}, names),
    st.just({"emptyDir": {}}),
    st.just({"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}),
    st.builds(lambda name: {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}, names),
    st.builds(lambda name: {"projected": {"sources": [{"configMap": {"name": name}}]}}, names),
    st.just({"projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}),
    st.builds(lambda name: {"csi": {"driver": f"{name}.example.com", "volumeAttributes": {"a": "b"}}}, names),
    st.builds(lambda name: {"image": {"reference": f"{name}:1", "pullPolicy": "IfNotPresent"}}, names),
)


@st.composite
def mounted_volumes(draw: st.DrawFn) -> Object:
    """Volumes, and mounts of some of them."""
    called = draw(st.lists(labels_.filter(lambda name: name != "podium"), min_size=1, max_size=3, unique=True))
    mounts = draw(
        st.lists(
            st.builds(
                lambda name, path: {"name": name, "mountPath": f"/mnt/{path}", "readOnly": True},
                st.sampled_from(called),
                st.lists(labels_, min_size=1, max_size=2).map("/".join),
            ),
            max_size=3,
            unique_by=lambda mount: mount["mountPath"],
        )
    )
    volumes = [{"name": name} | draw(kinds) for name in called]
    return {"volumes": volumes} | ({"volumeMounts": mounts} if mounts else {})


terms = st.builds(
    lambda key, values: {"matchExpressions": [{"key": key, "operator": "In", "values": values}]},
    labels_,
    st.lists(labels_, min_size=1, max_size=3),
)
affinities = optional(
    nodeAffinity=st.builds(
        lambda found: {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": found}},
        st.lists(terms, min_size=1, max_size=2),
    ),
    podAntiAffinity=st.builds(
        lambda weight, found: {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": weight, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": found}}}
            ]
        },
        st.integers(1, 100),
        labels,
    ),
)
pod_templates = st.builds(
    lambda plain, mounted: plain | mounted,
    optional(
        labels=labels,
        annotations=annotations,
        nodeSelector=labels,
        tolerations=st.lists(
            st.builds(lambda key: {"key": key, "operator": "Exists", "effect": "NoSchedule"}, labels_), max_size=2
        ),
        affinity=affinities,
        topologySpreadConstraints=st.lists(
            st.builds(
                lambda key: {
                    "maxSkew": 1,
                    "topologyKey": key,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {},
                },
                labels_,
            ),
            max_size=2,
            unique_by=lambda constraint: constraint["topologyKey"],
        ),
        serviceAccountName=names,
        imagePullSecrets=st.lists(names, max_size=2, unique=True).map(lambda found: [{"name": name} for name in found]),
        priorityClassName=names,
        runtimeClassName=names,
        terminationGracePeriodSeconds=st.integers(10, 3600),
        securityContext=optional(
            fsGroup=st.integers(0, 2**31 - 1),
            supplementalGroups=st.lists(st.integers(0, 2**31 - 1), max_size=3, unique=True),
            runAsUser=st.integers(1, 2**31 - 1),
            seLinuxOptions=optional(level=st.just("s0:c1,c2"), type=st.just("container_t")),
        ),
        fetchSecurityContext=optional(runAsUser=st.integers(1, 2**31 - 1)),
    ),
    st.one_of(st.just({}), mounted_volumes()),
)

metrics = st.one_of(
    st.builds(
        lambda share: {
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": share}},
        },
        st.integers(1, 100),
    ),
    st.builds(
        lambda name, value: {
            "type": "Pods",
            "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": value}},
        },
        labels_,
        quantities,
    ),
)


@st.composite
def autoscalings(draw: st.DrawFn) -> Object:
    """minReplicas at most maxReplicas."""
    most = draw(st.integers(1, 50))
    return draw(
        st.fixed_dictionaries(
            {"maxReplicas": st.just(most)},
            optional={
                "minReplicas": st.integers(1, most),
                "metrics": st.lists(metrics, max_size=2),
                "behavior": st.just({"scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max"}}),
            },
        )
    )


@st.composite
def steps(draw: st.DrawFn) -> list[Object]:
    """Steps of a Canary: weights that do not fall, with pauses between them."""
    weights = sorted(draw(st.lists(st.integers(1, 99), min_size=1, max_size=10)))
    found: list[Object] = []
    for weight in weights:
        found.append({"weight": weight, **draw(optional(**{"for": durations}))})
        found += [{"pause": True}] if draw(st.booleans()) else []
    return found


queries_ = st.sampled_from(
    ['sum(a_total{namespace="{{namespace}}",pod=~"{{revision}}-.*"}) or vector(0)', "sum(b)", "c{d='{'}"]
)


@st.composite
def analyses(draw: st.DrawFn) -> Object:
    """What a Canary is asked; metrics of each type at most once."""
    types = draw(
        st.lists(st.sampled_from(["ErrorRate", "Rejections", "Abandoned", "Latency", "Prometheus"]), unique=True)
    )
    called = draw(st.lists(labels_, min_size=len(types), max_size=len(types), unique=True))
    metrics: list[Object] = []
    for name, kind in zip(called, types, strict=True):
        ratios = sorted(draw(st.tuples(st.floats(1.125, 50, width=16), st.floats(1, 50, width=16))), reverse=True)
        metric = {"name": name, "type": kind, "maxRatio": ratios[0], "harmRatio": ratios[1]}
        metric |= draw(optional(tolerate=st.sampled_from(["0%", "0.1%", "2.50%", "99.999999%"])))
        if kind == "Latency":
            metric |= draw(optional(threshold=st.sampled_from(["1ms", "250ms", "1s500ms", "10m"])))
        if kind == "Prometheus":
            metric |= {"events": draw(queries_), "total": draw(queries_)}
        metrics.append(metric)
    return draw(
        optional(
            confidence=st.sampled_from([0.5, 0.9, 0.95, 0.999]),
            interval=st.sampled_from(["1s", "2500ms", "1m"]),
            warmUp=st.sampled_from(["0s", "90s", "1h"]),
            metrics=st.just(metrics),
        )
    )


@st.composite
def rollouts(draw: st.DrawFn) -> Object:
    """Strategies, sizes and times that go together."""
    found = draw(
        optional(
            strategy=st.sampled_from(["RollingUpdate", "BlueGreen", "Canary"]),
            steps=steps(),
            rollingUpdate=st.one_of(
                optional(maxSurge=sizes, maxUnavailable=sizes),
                st.builds(lambda size: {"maxSurge": 0, "maxUnavailable": size}, sizes),
            ),
            minReadySeconds=st.integers(0, 300),
            scaleDownDelay=durations,
            maxDuration=st.sampled_from(["1m", "36h", "720h"]),
            onInconclusive=st.sampled_from(["Rollback", "Promote", "Pause"]),
            revisionHistoryLimit=st.integers(0, 100),
        )
    )
    if found.get("minReadySeconds", 10) >= 60 or draw(st.booleans()):
        found["progressDeadline"] = draw(st.sampled_from(["10m", "301s", "1h30m", "6m500ms"]))
    if found.get("strategy", "RollingUpdate") != "RollingUpdate" and draw(st.booleans()):
        found["promotion"] = "Manual"
    return found


@st.composite
def model_deployment_specs(draw: st.DrawFn) -> Object:
    """A valid spec of a ModelDeployment."""
    found = draw(
        optional(
            model=models,
            runtime=runtimes,
            podTemplate=pod_templates,
            replicas=st.integers(0, 50),
            disruption=optional(maxUnavailable=st.one_of(st.just(0), sizes)),
            traffic=optional(router=st.just("None")),
            rollout=rollouts(),
            paused=st.booleans(),
        )
    )
    if draw(st.booleans()):
        analysis = draw(analyses())
        found["rollout"] = found.get("rollout", {}) | {"analysis": analysis}
        if analysis.get("metrics"):
            found["rollout"]["strategy"] = "Canary"
            found["traffic"] = {"router": "Envoy"}
    if found.get("replicas", 1) > 0 and draw(st.booleans()):
        found["autoscaling"] = draw(autoscalings())
    return found


templates = st.lists(
    st.one_of(
        texts.filter(lambda text: "{" not in text), st.sampled_from(["{{model}}", "{{revision}}", "{{path}}", "{x}"])
    ),
    max_size=3,
).map("".join)
probes = st.builds(
    lambda handler, timing: handler | timing,
    st.one_of(
        st.just({"httpGet": {"port": "http", "path": "/v1/models/{{model}}"}}),
        st.builds(lambda words: {"exec": {"command": words}}, st.lists(templates, min_size=1, max_size=3)),
        st.builds(lambda port: {"tcpSocket": {"port": port}}, st.integers(1, 65535)),
        st.builds(lambda port: {"grpc": {"port": port, "service": "{{model}}"}}, st.integers(1, 65535)),
    ),
    optional(periodSeconds=st.integers(1, 60), timeoutSeconds=st.integers(1, 60), failureThreshold=st.integers(1, 10)),
)


@st.composite
def model_runtime_specs(draw: st.DrawFn) -> Object:
    """A valid spec of a ModelRuntime."""
    http = draw(st.integers(1024, 32767))
    return draw(
        st.fixed_dictionaries(
            {
                "image": st.builds("registry.example.com/{}:{}".format, names, names),
                "ports": st.fixed_dictionaries(
                    {"http": st.just(http)},
                    optional={"grpc": st.integers(32768, 65535), "metrics": st.sampled_from([http, 9000])},
                ),
                "probes": st.fixed_dictionaries(
                    {"readiness": probes}, optional={"startup": probes, "liveness": probes}
                ),
            },
            optional={
                "command": st.lists(templates, max_size=3),
                "args": st.lists(templates, max_size=3),
                "env": variables.map(_without_braces),
                "formats": st.lists(labels_, max_size=3, unique=True),
                "protocol": st.sampled_from(["OIPv2", "TorchServe", "Plain"]),
                "layout": st.sampled_from(["File", "Folder", "Store"]),
                "files": st.lists(
                    st.builds(lambda name, text: {"path": f"/etc/{name}", "template": text}, labels_, templates),
                    max_size=2,
                    unique_by=lambda file: file["path"],
                ),
                "drain": optional(preStopSeconds=st.integers(0, 600), seconds=st.integers(1, 3000)),
                "resources": resources(),
                "securityContext": optional(
                    pod=optional(runAsUser=st.integers(0, 1000), fsGroup=st.integers(0, 1000)),
                    container=optional(
                        privileged=st.booleans(), readOnlyRootFilesystem=st.booleans(), runAsUser=st.integers(0, 1000)
                    ),
                    fetchUser=st.sampled_from(["NonRoot", "Fixed"]),
                ),
            },
        )
    )


def _without_braces(found: list[Object]) -> list[Object]:
    return [
        variable | ({"value": variable["value"].replace("{", "(")} if "value" in variable else {}) for variable in found
    ]
