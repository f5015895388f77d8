"""What the operator asked the API server for in the whole session, held against the table in docs/security.md."""

import itertools
from collections import Counter

from tests.client import Object
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.world import Performance, World
from tests.unit.test_rbac import Right, table

BINDINGS = frozenset({"clusterrolebindings", "rolebindings"})
SILENCE, READS_ROLES = 2.0, 20.0
"""Seconds without a request that tell of a stopped API server; and from its start until it knows all roles."""


def asked(world: World, namespace: str) -> list[Object]:
    """The requests of the operator that runs in a namespace."""
    return ground.audited(world.cluster, lambda event: bool(event["user"].get("username") == ground.account(namespace)))


def right(event: Object) -> Right:
    reference = event["objectRef"]
    resource = "/".join(reference[part] for part in ("resource", "subresource") if part in reference)
    return (reference.get("apiGroup", ""), resource, event["verb"])


def where(event: Object, own: str, watched: str = "") -> str:
    """The place in the table that a request falls under."""
    reference = event["objectRef"]
    if reference["resource"] == "leases":
        assert reference["namespace"] == own, event["requestURI"]
        return "own namespace"
    if reference["resource"] == "modelruntimes":
        return "cluster" if event["verb"] in ("get", "list", "watch") else "cluster, unless watchNamespaces"
    if reference["resource"] == "rolebindings":
        assert not watched, event["requestURI"]  # there the chart makes them
        return "cluster, unless watchNamespaces"
    assert not watched or reference.get("namespace") == watched, event["requestURI"]
    return "everywhere"


def outside(events: list[Object], own: str, watched: str = "") -> Counter[tuple[str, Right]]:
    """Requests that the table does not hold, counted. Discovery is no object's, and open to everybody."""
    rights, found = table(), Counter[tuple[str, Right]]()
    for event in events:
        if "objectRef" not in event or "resource" not in event["objectRef"]:
            assert event["verb"] == "get", event["requestURI"]
            assert event["requestURI"].startswith(("/api", "/version")), event["requestURI"]
        elif right(event) not in rights[place := where(event, own, watched)]:
            found[place, right(event)] += 1
    return found


def test_every_request_of_the_operator_is_in_the_table(world: World, performance: Performance) -> None:
    performance.finish()
    events = asked(world, podium.NAMESPACE)

    assert len(events) > 100
    assert outside(events, podium.NAMESPACE) == Counter()


def test_every_request_of_the_operator_of_one_namespace_is_in_the_table(world: World) -> None:
    events = asked(world, ground.TEAM_PODIUM)

    assert events
    assert outside(events, ground.TEAM_PODIUM, ground.TEAM) == Counter()
    assert not [event for event in events if right_of_writing_runtimes(event)]


def right_of_writing_runtimes(event: Object) -> bool:
    reference = event.get("objectRef") or {}
    return reference.get("resource") == "modelruntimes" and event["verb"] not in ("get", "list", "watch")


def test_nothing_was_forbidden_while_the_operator_was_installed(world: World) -> None:
    gone = _gone(world) + _starting(world)

    def forbidden(event: Object) -> bool:
        decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
        name = event["user"].get("username")
        operators = (ground.account(podium.NAMESPACE), ground.account(ground.TEAM_PODIUM))
        return name in operators and decision == "forbid"

    refused = [
        f"{event['verb']} {event['requestURI']} at {event['requestReceivedTimestamp']}"
        for event in ground.audited(world.cluster, forbidden)
        if not any(begin <= ground.begun(event) <= end for begin, end in gone)
    ]
    assert refused == []


def _starting(world: World) -> list[tuple[float, float]]:
    """When an API server had just started: until it has read the roles it forbids what they give.

    Nothing was asked while there was none; with one, leases alone are renewed every two seconds.
    """
    at: list[float] = []

    def note(event: Object) -> bool:
        at.append(ground.begun(event))
        return False  # the whole log is too large to be kept

    ground.audited(world.cluster, note)
    starts = [after for before, after in itertools.pairwise(sorted(at)) if after - before > SILENCE]
    return [(start, start + READS_ROLES) for start in starts]


def _gone(world: World) -> list[tuple[float, float]]:
    """When a release was being taken away: from the first of its bindings that went, to the next that came.

    A process that is ending may ask once more for what it has just lost the right to.
    """

    def binding(event: Object) -> bool:
        reference = event.get("objectRef") or {}
        ours = podium.RELEASE in reference.get("name", "") or event["verb"] == "create"
        return reference.get("resource") in BINDINGS and ours and event["user"].get("username") == "admin"

    spans: list[tuple[float, float]] = []
    begin = None
    for event in ground.audited(world.cluster, binding):
        if event["verb"] == "delete" and begin is None:
            begin = ground.begun(event)
        elif event["verb"] in ("create", "patch") and begin is not None:
            spans.append((begin, ground.answered(event) + READS_ROLES))
            begin = None
    return spans
