"""Watches: kopf's handlers, the cache, the queue, the resync.

kopf loads the `kubernetes` package where it is installed, to log in with it and to know its objects. Neither is used
here, and it takes 20 MB: so kopf is loaded as if it were not there, which kopf allows for, and can be imported
afterwards by whoever needs it.
"""

import sys

if "kopf" not in sys.modules and "kubernetes" not in sys.modules:
    sys.modules["kubernetes"] = None  # type: ignore[assignment]  # importing it raises ModuleNotFoundError
    try:
        import kopf  # noqa: F401
    finally:
        del sys.modules["kubernetes"]
