"""Checks of this project's own files, run by `nox -s lint` and the unit tests; builds use nothing of it."""
