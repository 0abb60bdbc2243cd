"""Clients of remote services: Debian's apt, registries, git, package indexes, downloads."""
