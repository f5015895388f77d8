"""Pure builders: from a spec, a runtime and an owner to Kubernetes objects as dicts. No clock, no cluster, no files."""
