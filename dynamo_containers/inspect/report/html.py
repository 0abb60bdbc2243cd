"""HTML page of the reports; it needs no network, font or script.

This module computes the numbers, page.html has the structure, page.css the look. Jinja escapes all text of a report:
names, errors and logs can contain anything.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from dynamo_containers import file_reader
from dynamo_containers.inspect.explain import human
from dynamo_containers.inspect.report import graph_layout, treemap, trends
from dynamo_containers.inspect.report.record import CACHED, CANCELED, DONE, FAILED, WAITING
from dynamo_containers.inspect.sizes import budget as sizes_budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.inspect.report.graph_layout import Edge
    from dynamo_containers.inspect.report.record import BuildReport, RecordedInstruction, RecordedTarget
    from dynamo_containers.inspect.report.treemap import Tile
    from dynamo_containers.inspect.report.trends import MeasuredImage, Pair, Point
    from dynamo_containers.inspect.sizes.manifest import ImageSize

FOLDER = Path(__file__).parent
WORST = (FAILED, CANCELED, WAITING, DONE, CACHED)
"""States from the worst on: of a target with several platforms the worst one is shown."""
SHOWN_PAIRS = 6
SHOWN_BUILDS = 12
"""How many builds are shown with their targets; older ones are a row of a table."""
NAME_WIDTH = 23
"""How many letters of a target's name fit into its box."""
OF_SCRIPT = re.compile(r'process "(?P<script>.*)" did not complete successfully: (?P<reason>.*)', re.DOTALL)
"""BuildKit's message about a RUN that failed."""
MINUTE = 60
HEADROOM = 1.12
"""Height of a chart, compared with its highest number."""


def page(reports: Sequence[BuildReport], now: float) -> str:
    """Return the page of some reports, sorted from the oldest on; `now` is in seconds since 1970."""
    newest = tuple(reversed(reports))
    measured = trends.last(reports)
    pairs = trends.pairs(measured)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": human,
        "duration": duration,
        "moment": moment,
        "percent": _percent,
    }
    return environment.get_template("page.html").render(
        written=now,
        reports=newest,
        builds=[_build(report, index) for index, report in enumerate(newest[:SHOWN_BUILDS])],
        older=newest[SHOWN_BUILDS:],
        images=[_image(image, trends.shared_with(name, pairs)) for name, image in measured.items()],
        pairs=[_pair(pair) for pair in pairs[:SHOWN_PAIRS]],
        more_pairs=pairs[SHOWN_PAIRS:],
        charts=[_chart(name, points, measured[name]) for name, points in trends.history(reports).items()],
    )


def duration(seconds: float) -> str:
    """Return a duration in readable units."""
    if seconds < 10:  # noqa: PLR2004 - the second digit matters
        return f"{seconds:.1f} s"
    if round(seconds) < MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // MINUTE} h {minutes % MINUTE:02d} min"


def moment(seconds: float) -> str:
    """Return a moment in UTC: the page may be read in another time zone."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _percent(part: float, total: float) -> str:
    return f"{100 * part / total:.0f} %" if total else "-"


def _build(report: BuildReport, index: int) -> dict[str, Any]:
    targets = report.targets or ()
    counts = {state: sum(target.state == state for target in targets) for state in WORST}
    return {
        "id": f"build-{index}",
        "report": report,
        "targets": [_target(target, report) for target in targets],
        "counts": {state: count for state, count in counts.items() if count},
        "graph": _graph(report) if targets else None,
        "failed": report.failed_target,
        "errors": [_error(line) for target in targets for line in target.instructions if line.error],
        "packed": sum(image.size.packed for image in report.images if image.size),
    }


def _error(line: RecordedInstruction) -> dict[str, str]:
    """Return the error of an instruction that failed; of a RUN the reason and the script are apart."""
    match = OF_SCRIPT.fullmatch(line.error)
    if not match:
        return {"name": line.name, "error": line.error, "script": ""}
    try:
        script = file_reader.parse_json(f'"{match["script"]}"')  # Go quotes nearly as JSON does
    except ValueError:
        script = match["script"]
    return {"name": line.name, "error": match["reason"], "script": str(script).removeprefix("/bin/sh -c ")}


def _target(target: RecordedTarget, report: BuildReport) -> dict[str, Any]:
    total = max([report.seconds, *(end for _, end in target.spans)]) or 1
    bars = [
        {"left": round(100 * max(0, start) / total, 3), "width": round(100 * (end - max(0, start)) / total, 3)}
        for start, end in target.spans
    ]
    return {"target": target, "bars": bars, "needs": report.graph.get(target.name, ())}


def _graph(report: BuildReport) -> dict[str, Any]:
    rows: dict[str, list[RecordedTarget]] = {name: [] for name in report.graph}
    for target in report.targets or ():
        rows.setdefault(target.name, []).append(target)
    layout = graph_layout.layout(report.graph)
    boxes = [{"box": box, **_box(box.name, rows[box.name])} for box in layout.boxes]
    paths = [{"line": line, "path": _path(line)} for line in layout.lines]
    size = {"width": graph_layout.WIDTH, "height": graph_layout.HEIGHT}
    return {"layout": layout, "boxes": boxes, "paths": paths, **size}


def _box(name: str, targets: Sequence[RecordedTarget]) -> dict[str, Any]:
    state = next((state for state in WORST if any(target.state == state for target in targets)), WAITING)
    longest = max((target.seconds for target in targets), default=0.0)
    caption = duration(longest) if state == DONE else state
    if state == FAILED:
        caption = f"failed after {duration(longest)}"
    platforms = f" · {len(targets)} platforms" if len(targets) > 1 else ""
    short = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
    return {"state": state, "short": short, "caption": f"{caption}{platforms}"}


def _path(line: Edge) -> str:
    """Return a line as an SVG path: straight past a row, and a curve from row to row."""
    (left, top), *rest = line.points
    commands = [f"M{left:g} {top:g}"]
    for before, (x, y) in zip(line.points, rest, strict=False):
        half = (before[1] + y) / 2
        commands.append(f"L{x:g} {y:g}" if before[0] == x else f"C{before[0]:g} {half:g} {x:g} {half:g} {x:g} {y:g}")
    return "".join(commands)


def _image(measured: MeasuredImage, shared: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    size, image = measured.size, measured.image
    numbers = sizes_budget.numbers(size)
    sizes = [layer.packed for layer in size.layers]
    maps = [treemap.tiles(sizes, ratio) for ratio in (treemap.SCREEN, treemap.TELEPHONE)]
    return {
        "image": image,
        "size": size,
        "tiles": [_tile(size, shared, wide, tall) for wide, tall in zip(*maps, strict=True)],
        "layers": [{"layer": layer, "shared": shared.get(layer.content, ())} for layer in size.layers],
        "any_shared": bool(shared),
        "budget": [
            {
                "key": key,
                "number": numbers[key],
                "limit": limit,
                "over": numbers[key] > limit,
                "width": min(100, round(100 * numbers[key] / limit, 1)) if limit else 100,
            }
            for key, limit in image.budget.items()
            if numbers.get(key)  # 0: a registry does not know it
        ],
    }


def _tile(size: ImageSize, shared: Mapping[str, Sequence[str]], wide: Tile, tall: Tile) -> dict[str, Any]:
    layer = size.layers[wide.index]
    return {
        "wide": wide,
        "tall": tall,
        "layer": layer,
        "shared": shared.get(layer.content, ()),
        "up": round(100 * (wide.index + 1) / len(size.layers)),
    }


def _pair(pair: Pair) -> dict[str, Any]:
    total = pair.both + pair.only_first + pair.only_second or 1
    parts = {"first": pair.only_first, "both": pair.both, "second": pair.only_second}
    return {"pair": pair, "widths": {name: round(100 * size / total, 3) for name, size in parts.items()}}


def _chart(name: str, points: Sequence[Point], measured: MeasuredImage) -> dict[str, Any]:
    budget = measured.image.budget.get("compressed-mb", 0) * sizes_budget.MB
    highest = max(budget, *(point.packed for point in points)) * HEADROOM or 1
    first, last = points[0].moment, points[-1].moment

    def position(point: Point) -> dict[str, Any]:
        left = 100 * (point.moment - first) / (last - first) if last > first else 50.0
        return {"point": point, "left": round(left, 2), "top": round(100 - 100 * point.packed / highest, 2)}

    dots = [position(point) for point in points]
    return {
        "name": name,
        "points": dots,
        "line": " ".join(f"{dot['left']:g},{dot['top']:g}" for dot in dots),
        "budget": budget,
        "budget_top": round(100 - 100 * budget / highest, 2),
        "last": points[-1].packed,
        "over": bool(budget) and points[-1].packed > budget,
    }
