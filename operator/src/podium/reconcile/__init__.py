"""Observe, plan, apply, write status: one pass over one ModelDeployment."""
