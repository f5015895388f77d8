"""The onnxruntime server and the model fetcher of Podium."""
