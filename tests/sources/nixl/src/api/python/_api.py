"""A stand-in for NIXL's interface."""

WORD = "first"
