#!/bin/sh
# Replaces an installed package, pytest, by sources that say so, the way `uv pip install --editable` does it: without
# an index there is nothing to build with, so the sources come with a build backend of their own.
set -eu
cd "$(mktemp -d)"
mkdir pytest
echo '__version__ = "0+ours"' >pytest/__init__.py
cat >pyproject.toml <<EOF
[project]
name = "pytest"
version = "0+ours"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
EOF
cat >backend.py <<EOF
import os
import zipfile


def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "pytest-0+ours-py3-none-any.whl", "pytest-0+ours.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("pytest-ours.pth", os.getcwd() + "\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pytest\nVersion: 0+ours\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
EOF
uv pip install --offline --quiet --no-deps --editable .
