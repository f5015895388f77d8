"""The serving image: an Open Inference Protocol server over onnxruntime, and the fetcher that brings its model."""

import os

__version__ = "0.1.0"

# Official builds of onnxruntime report usage over the network and keep an identifier on disk, unless this is set before
# they are imported, by whichever module is the first.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
