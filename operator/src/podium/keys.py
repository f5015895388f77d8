"""What the work queue holds."""

from typing import NamedTuple


class Key(NamedTuple):
    """What one pass is about, for the reconciler of its kind; `Resource.key` makes one of an object."""

    kind: str
    namespace: str
    """Empty where the kind has none."""
    name: str

    def __str__(self) -> str:
        """As logs name it: `namespace/name`, or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
