"""What a backend's image costs beside another one, and when nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.inspect.sizes import shared_layers
from dynamo_containers.inspect.sizes.accepted import Accepted
from dynamo_containers.inspect.sizes.manifest import ImageSize, MeasuredLayer
from dynamo_containers.inspect.sizes.shared_layers import NOWHERE, Origin, OtherBackend
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue

NOW = Origin(lock="sha256:now")
BEFORE = Origin(lock="sha256:before")
DRIFTED = Origin(lock="sha256:now", drift="bash=5.2-3")
IMAGE = ImageSize(
    layers=(
        MeasuredLayer(name="os", digest="sha256:a", content="sha256:os", packed=34, unpacked=100),
        MeasuredLayer(name="common", digest="sha256:b", content="sha256:common", packed=1900, unpacked=4000),
        MeasuredLayer(name="vllm", digest="sha256:c", content="sha256:vllm", packed=600, unpacked=1500),
    )
)


def test_the_other_image_in_the_engine_counts_before_its_accepted_layers() -> None:
    accepted = Accepted(made_from="sha256:now", digests=("sha256:os",))
    other = shared_layers.other_backend("sglang", NOW, (NOW, ("sha256:a", "sha256:b")), accepted)
    assert other == OtherBackend(
        name="sglang", layers=frozenset({"sha256:a", "sha256:b"}), source="its image in the engine"
    )


def test_an_image_in_the_engine_that_was_made_from_other_locks_is_no_measure() -> None:
    accepted = Accepted(made_from="sha256:now", digests=("sha256:os",))
    other = shared_layers.other_backend("sglang", NOW, (BEFORE, ("sha256:a",)), accepted)
    assert other == OtherBackend(name="sglang", layers=frozenset({"sha256:os"}), source="its accepted layers")


@pytest.mark.parametrize(
    ("expected", "accepted"),
    [
        pytest.param(NOW, Accepted(), id="never accepted"),
        pytest.param(NOW, Accepted(layers={"os": 34}), id="accepted before digests were noted"),
        pytest.param(NOW, Accepted(made_from="sha256:before", digests=("sha256:os",)), id="other locks"),
        pytest.param(DRIFTED, Accepted(made_from="sha256:now", digests=("sha256:os",)), id="not drifted then"),
    ],
)
def test_without_an_image_of_the_same_locks_nothing_is_known(expected: Origin, accepted: Accepted) -> None:
    assert shared_layers.other_backend("sglang", expected, None, accepted) == OtherBackend(
        name="sglang", source=NOWHERE
    )


def test_what_drifted_is_part_of_what_was_accepted() -> None:
    accepted = Accepted(made_from="sha256:now bash=5.2-3", digests=("sha256:os",))
    assert shared_layers.other_backend("sglang", DRIFTED, None, accepted).layers == {"sha256:os"}


def test_the_bytes_are_those_beside_the_image_that_spares_least() -> None:
    much = OtherBackend(name="sglang", layers=frozenset({"sha256:a", "sha256:common"}), source="")
    little = OtherBackend(name="toy", layers=frozenset({"sha256:a"}), source="")
    assert shared_layers.to_pull(IMAGE, (much,)) == 600
    assert shared_layers.to_pull(IMAGE, (much, little)) == 2500


def test_beside_unknown_images_there_is_no_number() -> None:
    unknown = OtherBackend(name="sglang", source=NOWHERE)
    assert shared_layers.to_pull(IMAGE, (unknown,)) is None
    assert shared_layers.to_pull(IMAGE, ()) is None


def test_beside_are_the_images_that_share_the_layer_on_these_bases() -> None:
    own = load_catalogue()
    for bases in ("debian", "cuda"):
        request = request_for(
            own, Stage.RUNTIME, ImageSelection(images=["vllm"], platforms=["linux/amd64"], bases=bases)
        )
        assert [other.name for other in shared_layers.others(request, own.images["vllm"])] == ["sglang"]
        assert shared_layers.others(request, own.images["frontend"]) == ()


def test_an_image_that_is_not_made_for_the_platform_is_not_beside(catalogue: Catalogue) -> None:
    frontend, small = (replace(catalogue.images[name], common_layer="common") for name in ("frontend", "small"))
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/arm64"]))
    request = replace(request, catalogue=replace(catalogue, images={"frontend": frontend, "small": small}))
    assert shared_layers.others(request, frontend) == ()
    assert shared_layers.others(request, small) == (frontend,)


def test_a_budget_for_a_second_backend_is_refused_where_nothing_is_shared(checkout: Path) -> None:
    row = '\n[images.small.budget."linux/amd64"]\nsecond-backend-mb = 1\n'
    with (checkout / IMAGES_FILE).open("a", encoding="utf-8") as file:
        file.write(row)
    with pytest.raises(UsageError, match=r"images\.small\.budget: found second-backend-mb, allowed is no such key"):
        load_catalogue(checkout)
