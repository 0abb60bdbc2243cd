"""Measured, accepted and unmeasured sizes of an image, given the answers of the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process
from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.inspect.sizes import accepted as accepted_sizes
from dynamo_containers.inspect.sizes import check as size_check
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.inspect.sizes.accepted import Accepted
from dynamo_containers.inspect.sizes.manifest import ImageSize, MeasuredLayer
from dynamo_containers.inspect.sizes.measure import SizedImage, StoredImage
from dynamo_containers.inspect.sizes.shared_layers import Origin, OtherBackend
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs

VLLM = "vllm-runtime-debian-amd64"
ORIGIN = Origin(lock="sha256:0123", drift="bash=5.2-3")
SGLANG = OtherBackend(name="sglang", layers=frozenset({"sha256:a"}), source="its image in the engine")
UNKNOWN = OtherBackend(name="sglang", source="it was never locked")


def sized(catalogue: Catalogue, *backends: OtherBackend, **numbers: int) -> SizedImage:
    """Return a measured image of two layers."""
    layers = (
        MeasuredLayer(name="os", digest="sha256:a", content="sha256:os", packed=34, unpacked=100),
        MeasuredLayer(name="vllm", digest="sha256:c", content="sha256:vllm", packed=600, unpacked=1500),
    )
    return SizedImage(
        name=VLLM,
        image=replace(catalogue.images["small"], common_layer="common"),
        stored=StoredImage(
            tag="small:1", digest="sha256:1", manifest={}, contents=("sha256:os", "sha256:vllm"), origin=ORIGIN
        ),
        size=ImageSize(layers=layers),
        numbers={name.replace("_", "-"): number for name, number in numbers.items()},
        backends=backends,
    )


def test_the_layers_of_packages_are_called_after_their_steps(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.CI, ImageSelection(images=["frontend"], platforms=["linux/amd64"]))
    targets = bake.bake_graph(BuildPart(request, facts)).targets
    assert size_measure.package_targets(targets, "frontend-ci") == (
        ("frontend", "packages"),
        ("frontend-dynamo", "dynamo"),
        ("frontend-runtime", "frontend"),
        ("frontend-ci", "packages"),
    )


def test_accepted_sizes_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert accepted_sizes.read(tmp_path) == {}
    accepted = {
        VLLM: Accepted(
            layers={'"${PYTHON}" -m venv \\ x': 5, "common-torch": 665578972},
            made_from=str(ORIGIN),
            digests=(f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"),
            contents={"python torch": 1, "os (each below 1 MB)": 2, "file /usr/bin/nats-server": 3},
        ),
        "base-base-debian-amd64": Accepted(layers={"COPY /tree /": 7}),
    }
    process.write(accepted_sizes.document(tmp_path, accepted))
    assert accepted_sizes.read(tmp_path) == accepted


def test_an_image_without_sizes_of_packages_is_read_all_the_same(tmp_path: Path) -> None:
    text = f'[{VLLM}]\n\n[{VLLM}.layers]\n"common-torch" = 665578972\n'
    process.write(process.Document(path=tmp_path / accepted_sizes.FILE, text=text))
    assert accepted_sizes.read(tmp_path) == {VLLM: Accepted(layers={"common-torch": 665578972})}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('"common-torch" = 5\n', r"vllm\.layers is missing \(a table\)", id="as it was written before"),
        pytest.param("[vllm.layers]\n[vllm.packages]\n", r"vllm\.packages: unknown key", id="unknown"),
        pytest.param("[vllm.layers]\na = -5\n", r"vllm\.layers\.a: found -5, allowed is a number of", id="negative"),
        pytest.param('digests = ["x"]\n[vllm.layers]\n', r"vllm\.digests: found 'x', allowed is a digest", id="digest"),
        pytest.param('[vllm.layers]\na = "5"\n', r"vllm\.layers\.a: found '5', allowed is a number of", id="type"),
    ],
)
def test_a_file_of_accepted_sizes_that_breaks_its_rules_is_refused(tmp_path: Path, text: str, message: str) -> None:
    process.write(process.Document(path=tmp_path / accepted_sizes.FILE, text=f"[vllm]\n{text}"))
    with pytest.raises(LockError, match=message):
        accepted_sizes.read(tmp_path)


def test_accepted_are_layers_contents_and_what_the_image_was_made_from(catalogue: Catalogue) -> None:
    assert size_check.accepted_of(sized(catalogue), {"python torch": 9}) == Accepted(
        layers={"os": 34, "vllm": 600},
        made_from="sha256:0123 bash=5.2-3",
        digests=("sha256:os", "sha256:vllm"),
        contents={"python torch": 9},
    )


def test_a_number_that_was_measured_leaves_no_line(catalogue: Catalogue) -> None:
    image = sized(catalogue, SGLANG, layers=2, second_backend_mb=1)
    assert size_check.unmeasured({"layers": 2, "second-backend-mb": 1}, image) == ()


def test_a_second_backend_that_nobody_knows_is_named_with_the_reason(catalogue: Catalogue) -> None:
    lines = ("  second-backend-mb was NOT MEASURED against sglang: it was never locked",)
    assert size_check.unmeasured({"second-backend-mb": 1}, sized(catalogue, UNKNOWN)) == lines
    one_of_two = sized(catalogue, replace(SGLANG, name="toy"), UNKNOWN, second_backend_mb=1)
    assert size_check.unmeasured({"second-backend-mb": 1}, one_of_two) == lines


def test_a_second_backend_that_does_not_exist_and_a_bump_without_packages_are_named(catalogue: Catalogue) -> None:
    assert size_check.unmeasured({"dynamo-bump-mb": 1, "second-backend-mb": 1}, sized(catalogue)) == (
        "  dynamo-bump-mb was NOT MEASURED",
        "  second-backend-mb was NOT MEASURED: no other image shares its packages",
    )


def test_the_numbers_are_a_row_to_copy_that_says_what_it_lacks(catalogue: Catalogue) -> None:
    assert size_check.row(sized(catalogue, UNKNOWN, compressed_mb=1, layers=2), "linux/amd64") == (
        "# vllm-runtime-debian-amd64\n"
        '[images.small.budget."linux/amd64"]\n'
        "compressed-mb = 1\n"
        "layers = 2\n"
        "# second-backend-mb was NOT MEASURED against sglang: it was never locked"
    )
