"""`invoke lock`: every input is pinned by content, and checked."""
