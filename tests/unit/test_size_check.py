"""Which steps of a bake document are layers of an image, and what is kept of accepted sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import accepted_sizes, build, run, size_check
from dynamo_containers.model import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.build import Facts
    from dynamo_containers.model import Catalogue


def test_the_layers_of_packages_are_called_after_their_steps(catalogue: Catalogue, facts: Facts) -> None:
    request = build.request(catalogue, Stage.CI, images=["frontend"], platforms=["linux/amd64"])
    targets = build.bake(request, facts)["target"]
    assert size_check.steps_of(targets, "frontend-ci") == (
        ("frontend", "packages"),
        ("frontend-dynamo", "dynamo"),
        ("frontend-ci", "packages"),
    )


def test_accepted_sizes_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert accepted_sizes.read(tmp_path) == {}
    sizes = {"vllm-runtime-debian-amd64": {'"${PYTHON}" -m venv \\ x': 5, "common-torch": 665578972}}
    run.write(accepted_sizes.document(tmp_path, sizes))
    assert accepted_sizes.read(tmp_path) == sizes
