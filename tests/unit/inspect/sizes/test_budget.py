"""The size of an image, compared with a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.inspect.sizes import budget
from dynamo_containers.inspect.sizes import manifest as sizes_manifest
from dynamo_containers.plan import dockerfile

if TYPE_CHECKING:
    from dynamo_containers.inspect.sizes.manifest import ImageSize

FOLDER = ROOT / "containers"
HISTORY = (
    (119_000_000, "mmdebstrap --variant=essential"),
    (0, "ARG SOURCE_DATE_EPOCH=1"),
    (60_000_000, "RUN |1 A=1 /bin/sh -c set -eu\n# why\ncp --recursive /run/programs/. /\n # buildkit"),
    (4096, "WORKDIR /workspace"),
    (0, "USER 1000:0"),
    (4_000_000_000, "COPY /tree / # buildkit"),
    (200_000_000, "COPY /tree / # buildkit"),
    (0, 'CMD ["python"]'),
)
STEPS = ("common-torch", "vllm-dynamo")


def image(*packed: int) -> ImageSize:
    manifest = {"layers": [{"digest": f"sha256:{index}-{size}", "size": size} for index, size in enumerate(packed)]}
    contents = [f"sha256:content-{index}-{size}" for index, size in enumerate(packed)]
    return sizes_manifest.measured(manifest, contents, HISTORY, STEPS)


SMALL = image(34_000_000, 22_000_000, 16, 1_900_000_000, 100_000_000)


def test_layers_are_the_lines_of_the_history_that_are_not_empty_and_are_called_after_their_steps() -> None:
    names = [layer.name for layer in SMALL.layers]
    assert names == [
        "root image",
        "cp --recursive /run/programs/. /",
        "WORKDIR /workspace",
        "common-torch",
        "vllm-dynamo",
    ]
    assert SMALL.layers[3].unpacked == 4_000_000_000
    assert (SMALL.packed, SMALL.unpacked) == (2_056_000_016, 4_379_004_096)


def test_a_layer_is_called_as_its_script_says() -> None:
    history = ((1, "RUN |1 A=1 /bin/sh -c set -eu\n# layer: user, NATS and etcd\n# why\nuseradd dynamo\n # buildkit"),)
    manifest = {"layers": [{"digest": "sha256:1", "size": 1}]}
    (layer,) = sizes_manifest.measured(manifest, ["sha256:2"], history).layers
    assert layer.name == "user, NATS and etcd"


UNNAMED = {"backend", "compile-tools", "cuda-toolkit", "os-rpms", "toolchain"}
"""Steps of which nothing goes into an image that people pull."""


def test_every_script_that_makes_a_layer_says_how_people_call_it() -> None:
    files = {file.parent.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*/Dockerfile")}
    last = {name: dockerfile.parse(text).stages[-1] for name, text in files.items() if name not in UNNAMED}
    scripts = {name: sum(step.keyword == "RUN" for step in stage.steps) for name, stage in last.items()}
    named = {name: files[name].count(f"\nset -eu\n{sizes_manifest.NAMED}") for name in last}
    assert named == scripts
    assert {name for name in named if named[name]} == {"builder", "dev", "engine-image", "os", "os-packages"}


def test_what_is_to_be_pulled_is_the_layers_of_which_neither_digest_is_there() -> None:
    existing = {"sha256:0-34000000", "sha256:content-1-22000000", "sha256:2-16", "sha256:3-1500000000"}
    assert sizes_manifest.to_pull(SMALL, existing) == 2_000_000_000
    assert sizes_manifest.to_pull(SMALL, ()) == SMALL.packed


def test_a_new_dynamo_moves_what_is_above_the_last_layer_of_packages() -> None:
    assert sizes_manifest.above(SMALL, "common-torch") == 100_000_000


def test_numbers_are_in_the_units_of_a_budget_rounded_up() -> None:
    assert budget.numbers(SMALL, bump=100_000_001) == {
        "compressed-mb": 2057,
        "uncompressed-mb": 4380,
        "largest-layer-mb": 1900,
        "layers": 5,
        "dynamo-bump-mb": 101,
    }


def test_a_layer_of_more_than_2_gb_and_too_many_layers_are_over() -> None:
    numbers = budget.numbers(image(34_000_000, 22_000_000, 16, 2_000_000_001, 100_000_000))
    rows = budget.over({"largest-layer-mb": 2000, "layers": 4, "compressed-mb": 9000}, numbers)
    assert [(row.key, row.number, row.limit) for row in rows] == [("largest-layer-mb", 2001, 2000), ("layers", 5, 4)]


def test_a_number_at_its_budget_is_within_it_and_one_that_was_not_measured_is_named() -> None:
    numbers = budget.numbers(SMALL)
    assert budget.over({"layers": 5, "largest-layer-mb": 1900}, numbers) == ()
    assert budget.unmeasured({"layers": 5, "second-backend-mb": 1}, numbers) == ("second-backend-mb",)


def test_the_table_says_what_is_over_and_which_layers_grew_the_most_first() -> None:
    grown = image(34_000_000, 22_000_000, 16, 2_100_000_000, 130_000_000)
    rows = budget.over({"largest-layer-mb": 2000}, budget.numbers(grown))
    assert budget.table(rows, grown, budget.layers_of(SMALL)) == (
        "  largest-layer-mb       2100 over     2000\n"
        "Growth by layer, compressed (compared with the accepted sizes):\n"
        "     +200.0 MB  common-torch (1900.0 -> 2100.0 MB)\n"
        "      +30.0 MB  vllm-dynamo (100.0 -> 130.0 MB)"
    )


def test_where_no_layer_grew_the_table_says_so() -> None:
    rows = budget.over({"layers": 4}, budget.numbers(SMALL))
    assert budget.table(rows, SMALL, budget.layers_of(SMALL)) == (
        "  layers                    5 over        4\nBy layer, compressed: none grew."
    )
