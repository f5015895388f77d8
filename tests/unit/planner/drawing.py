"""How the state machines draw: the same events at each run, or others and as many as one asks for."""

import os

from hypothesis import HealthCheck, settings


def drawing(examples: int) -> settings:
    """`examples` runs of 20 events, always the same; PODIUM_EXAMPLES draws so many, others at each run."""
    return settings(
        max_examples=int(os.environ.get("PODIUM_EXAMPLES", str(examples))),
        stateful_step_count=20,
        deadline=None,
        derandomize="PODIUM_EXAMPLES" not in os.environ,
        database=None,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
