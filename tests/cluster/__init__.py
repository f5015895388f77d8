"""Kubernetes for tests and the demo: a control plane alone, or a cluster of one node with Podium on it."""
