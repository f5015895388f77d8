"""What holds of every ModelDeployment at every moment, judged from all versions of all objects.

One set of rules for three worlds: the planner's (tests/unit/planner), the integration tests' (a real API server, pods
played by the test) and the cluster's. Each turns what it has seen into a history of Versions; the rules are pure.
"""

from tests.invariants import reading
from tests.invariants.history import LISTED, LOST, Object, State, Version, author, model_of
from tests.invariants.judge import Judge, violations
from tests.invariants.rules import RULES

__all__ = [
    "LISTED",
    "LOST",
    "RULES",
    "Judge",
    "Object",
    "State",
    "Version",
    "author",
    "model_of",
    "reading",
    "violations",
]
