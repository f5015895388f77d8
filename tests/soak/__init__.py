"""A server under mixed load for a while, and what that leaves in its memory."""
