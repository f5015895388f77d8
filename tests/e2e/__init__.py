"""Podium on a real cluster with real pods: what the demo shows and more, as assertions."""
