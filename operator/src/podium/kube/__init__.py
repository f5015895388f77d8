"""The only way to the Kubernetes API: a small protocol, its implementation, the Lease and Events."""
