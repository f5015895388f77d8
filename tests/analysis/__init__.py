"""Simulated rollouts: what thousands of them come to, by a twin of the kernel in arrays."""
