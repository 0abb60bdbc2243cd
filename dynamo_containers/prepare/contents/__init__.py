"""Readers of what archives and layers contain: ELF files, wheels, layers of images."""
