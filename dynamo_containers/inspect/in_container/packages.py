"""Packages of an image, printed as JSON by the image's own Python.

`{"Python": {name: version}, "OS": {...}, "wheelhouse": {...}}`: the distributions of the Python that runs it
(https://packaging.python.org/en/latest/specifications/recording-installed-packages/), dpkg's own list, and the wheels
of the base and backend stages. It needs Python 3.8 or newer: published engine images have their own Python.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

STATUS = Path("/var/lib/dpkg/status")
WHEELHOUSE = Path("/opt/dynamo/wheelhouse")


def packages(status: Path, wheelhouse: Path) -> dict[str, dict[str, str]]:
    """Return the packages by kind."""
    distributions = ((row.metadata["Name"], row.version) for row in importlib.metadata.distributions())
    wheels = (file.name.split("-")[:2] for file in wheelhouse.glob("**/*.whl"))
    return {
        "Python": {_normal(name): version for name, version in distributions if name},
        "OS": _installed(status.read_text(encoding="utf-8")) if status.is_file() else {},
        "wheelhouse": {_normal(name): version for name, version in wheels},
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(text: str) -> dict[str, str]:
    fields = re.compile(r"^(Package|Version|Status): (.*)$", re.MULTILINE)
    rows = (dict(fields.findall(paragraph)) for paragraph in text.split("\n\n"))
    return {row["Package"]: row["Version"] for row in rows if row.get("Status", "").endswith(" ok installed")}


if __name__ == "__main__":
    print(json.dumps(packages(STATUS, WHEELHOUSE)))
