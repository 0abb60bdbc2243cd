"""Whoever is asked outside this machine: Debian's apt, registries, git, indexes, downloads."""
