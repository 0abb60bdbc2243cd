"""`invoke lint`: rules for Dockerfiles, their scripts and the build graph."""
