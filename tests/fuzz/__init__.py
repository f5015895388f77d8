"""Fuzzing of what reads the clients' bytes."""
