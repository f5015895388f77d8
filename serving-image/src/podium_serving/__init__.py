"""The serving image: an Open Inference Protocol server over onnxruntime, and the fetcher that brings its model."""

__version__ = "0.1.0"
