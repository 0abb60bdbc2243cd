"""The inputs of a build, put together on this machine: root images, packages, binaries, secrets."""
