"""Drawings of the page: areas in proportion to sizes, and a graph without overlaps."""

from __future__ import annotations

import random
import re
from itertools import combinations
from pathlib import Path

import pytest

from dynamo_containers.inspect.report import graph_layout, treemap
from dynamo_containers.inspect.report import html as report_html
from dynamo_containers.inspect.report.graph_layout import HEIGHT, WIDTH, layout

SIZES = [
    pytest.param([1], id="one"),
    pytest.param([5, 5, 5, 5], id="equal"),
    pytest.param([1_383_000_000, 866_900_000, 697_600_000, 384_100_000, 23_000, 16], id="layers"),
    pytest.param([random.Random(number).randrange(1, 10**9) for number in range(60)], id="many"),  # noqa: S311 - no secret
]
FORMS = [treemap.SCREEN, treemap.TELEPHONE]


@pytest.mark.parametrize("ratio", FORMS)
@pytest.mark.parametrize("sizes", SIZES)
def test_the_area_of_a_tile_is_in_proportion_to_its_size(sizes: list[int], ratio: float) -> None:
    tiles = treemap.tiles(sizes, ratio)
    assert sorted(tile.index for tile in tiles) == list(range(len(sizes)))
    for tile in tiles:
        assert tile.width * tile.height / 100**2 == pytest.approx(sizes[tile.index] / sum(sizes), rel=1e-6)


@pytest.mark.parametrize("ratio", FORMS)
@pytest.mark.parametrize("sizes", SIZES)
def test_no_tile_overlaps_another_or_leaves_the_map(sizes: list[int], ratio: float) -> None:
    tiles = treemap.tiles(sizes, ratio)
    for tile in tiles:
        assert min(tile.left, tile.top) >= -1e-6
        assert max(tile.left + tile.width, tile.top + tile.height) <= 100 + 1e-6
    for first, other in combinations(tiles, 2):
        width = min(first.left + first.width, other.left + other.width) - max(first.left, other.left)
        height = min(first.top + first.height, other.top + other.height) - max(first.top, other.top)
        assert min(width, height) <= 1e-6


def test_an_empty_layer_has_no_tile() -> None:
    assert treemap.tiles([], 1.0) == treemap.tiles([0, 0], 1.0) == ()
    assert [tile.index for tile in treemap.tiles([0, 4, 0, 9], 1.0)] == [3, 1]


BACKENDS = {
    "builder": (),
    "tools": (),
    "os": (),
    "base": ("builder", "tools"),
    "compiler": ("os",),
    "common-cuda": ("compiler", "tools"),
    "common-torch": ("common-cuda", "tools"),
    "vllm": ("common-torch", "tools"),
    "sglang": ("common-torch", "tools"),
    "vllm-dynamo": ("vllm", "base", "tools"),
    "sglang-dynamo": ("sglang", "base", "tools"),
    "vllm-runtime": ("vllm-dynamo",),
    "sglang-runtime": ("sglang-dynamo",),
}


def some_graph(seed: int) -> dict[str, tuple[str, ...]]:
    chance = random.Random(seed)  # noqa: S311 - no secret
    names = [f"step-{number}" for number in range(25)]
    return {
        name: tuple(chance.sample(names[:place], k=min(place, chance.randrange(4)))) for place, name in enumerate(names)
    }


GRAPHS = [BACKENDS, {"one": ()}, *(some_graph(seed) for seed in range(8))]


@pytest.mark.parametrize("graph", GRAPHS)
def test_no_target_overlaps_another_or_leaves_the_drawing(graph: dict[str, tuple[str, ...]]) -> None:
    drawing = layout(graph)
    assert {box.name for box in drawing.boxes} == set(graph)
    for box in drawing.boxes:
        assert 0 <= box.left <= drawing.width - WIDTH
        assert 0 <= box.top <= drawing.height - HEIGHT
    for first, other in combinations(drawing.boxes, 2):
        assert abs(first.left - other.left) >= WIDTH or abs(first.top - other.top) >= HEIGHT


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_line_goes_down_from_a_target_to_one_that_needs_it(graph: dict[str, tuple[str, ...]]) -> None:
    drawing = layout(graph)
    place = {box.name: box for box in drawing.boxes}
    for line in drawing.lines:
        start, end = place[line.start], place[line.end]
        assert line.points[0] == pytest.approx((start.left + WIDTH / 2, start.top + HEIGHT), abs=0.2)
        assert line.points[-1] == pytest.approx((end.left + WIDTH / 2, end.top), abs=0.2)
        heights = [top for _, top in line.points]
        assert heights == sorted(heights)


@pytest.mark.parametrize("graph", GRAPHS)
def test_no_line_crosses_a_target(graph: dict[str, tuple[str, ...]]) -> None:
    drawing = layout(graph)
    for line in drawing.lines:
        for x, y in line.points[1:-1]:
            assert not [
                box.name for box in drawing.boxes if box.left < x < box.left + WIDTH and box.top < y < box.top + HEIGHT
            ]


def test_lines_that_others_imply_are_left_out() -> None:
    assert graph_layout.reduced(BACKENDS)["vllm-dynamo"] == ("vllm", "base")
    assert graph_layout.reduced(BACKENDS)["common-torch"] == ("common-cuda",)


def test_a_graph_is_drawn_without_names_that_are_not_targets() -> None:
    assert [box.name for box in layout({"a": ("gone",)}).boxes] == ["a"]


def test_an_empty_graph_has_an_empty_drawing() -> None:
    assert layout({}).boxes == ()


CSS = (Path(report_html.__file__).parent / "page.css").read_text(encoding="utf-8")
COLOUR = re.compile(r"--([\w-]+): (#[0-9a-f]{6});")
LIGHT, DARK = (dict(COLOUR.findall(part)) for part in CSS.partition("* {")[0].split("@media"))
READ_ON = [
    *((ink, paper) for ink in ("ink", "quiet", "accent", "failed") for paper in ("paper", "card")),
    *((state, f"{state}-soft") for state in ("done", "cached", "failed", "canceled", "waiting")),
    *((state, "card") for state in ("done", "cached", "failed", "canceled", "waiting")),
    *(("ink", soft) for soft in ("failed-soft", "canceled-soft", "cached-soft")),
    ("quiet", "failed-soft"),
    *(("on", tile) for tile in ("own", "own-top", "both", "both-top")),
]


def light(colour: str) -> float:
    """Return the relative luminance of a colour (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, {**LIGHT, **DARK}], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "paper"), READ_ON)
def test_text_has_enough_contrast_with_its_background(colours: dict[str, str], ink: str, paper: str) -> None:
    dark, bright = sorted((light(colours[ink]), light(colours[paper])))
    assert (bright + 0.05) / (dark + 0.05) >= 4.5
