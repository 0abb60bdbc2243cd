"""Locks of OS packages: Debian suites, packages on root images of registries, RPMs."""
