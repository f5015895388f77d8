"""What all unit tests share."""

import gc

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection need look at it again."""
    gc.collect()
    gc.freeze()
