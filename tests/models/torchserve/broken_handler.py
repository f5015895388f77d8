"""A handler that cannot be loaded, as when a file is missing from its archive."""

from typing import Any


class BrokenHandler:
    """Raises when TorchServe loads it."""

    def initialize(self, context: Any) -> None:
        """Raises."""
        raise RuntimeError("labels.json is missing from the archive")

    def handle(self, requests: list[dict[str, Any]], context: Any) -> list[dict[str, int]]:
        """Never asked."""
        raise AssertionError
