"""A stand-in for NIXL."""
