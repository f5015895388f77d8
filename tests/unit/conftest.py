"""What all unit tests share."""

import gc


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection need look at it again."""
    gc.collect()
    gc.freeze()
