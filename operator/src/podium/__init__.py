"""Podium: a Kubernetes operator for model deployments."""
