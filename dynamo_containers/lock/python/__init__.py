"""Locks of Python packages, made by pip-compile for the target and verified by uv."""
