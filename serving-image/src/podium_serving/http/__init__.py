"""HTTP/1.1 on a bare asyncio protocol: parsing, keep-alive, pipelining and limits. It knows nothing of models."""
