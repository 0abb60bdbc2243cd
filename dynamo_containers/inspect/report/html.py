"""HTML page of the reports; it needs no network, font or script.

What is drawn is computed here; page.html says where it stands, page.css how it looks. Jinja escapes whatever a report
says: names, errors and logs come from everywhere.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from dynamo_containers.inspect.explain import human
from dynamo_containers.inspect.report import graph_layout, treemap, trends
from dynamo_containers.inspect.report.record import CACHED, CANCELED, DONE, FAILED, WAITING
from dynamo_containers.inspect.sizes import budget as sizes_budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.inspect.report.graph_layout import Line
    from dynamo_containers.inspect.report.record import Instruction, Report, Step
    from dynamo_containers.inspect.report.treemap import Tile
    from dynamo_containers.inspect.report.trends import Measured, Pair, Point
    from dynamo_containers.inspect.sizes.manifest import ImageSize

FOLDER = Path(__file__).parent
WORST = (FAILED, CANCELED, WAITING, DONE, CACHED)
"""Of the states of a step on several platforms, which one is shown."""
SHOWN_PAIRS = 6
SHOWN_BUILDS = 12
"""How many builds are shown with their steps; older ones are a line in a table."""
NAME_WIDTH = 23
"""How many letters of a step's name fit into its box."""
OF_SCRIPT = re.compile(r'process "(?P<words>.*)" did not complete successfully: (?P<how>.*)', re.DOTALL)
"""How BuildKit says that a RUN failed."""
MINUTE = 60
HEADROOM = 1.12
"""How much higher than the highest number a chart is."""


def page(reports: Sequence[Report], now: float) -> str:
    """Return the page of some reports, from the oldest on, at a moment in seconds since 1970."""
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
        builds=[_build(report, place) for place, report in enumerate(newest[:SHOWN_BUILDS])],
        older=newest[SHOWN_BUILDS:],
        images=[_image(each, trends.shared_with(name, pairs)) for name, each in measured.items()],
        pairs=[_pair(pair) for pair in pairs[:SHOWN_PAIRS]],
        more_pairs=pairs[SHOWN_PAIRS:],
        charts=[_chart(name, points, measured[name]) for name, points in trends.history(reports).items()],
    )


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 10:  # noqa: PLR2004 - a second digit says something
        return f"{seconds:.1f} s"
    if round(seconds) < MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // MINUTE} h {minutes % MINUTE:02d} min"


def moment(seconds: float) -> str:
    """Return a moment, in UTC: the page may be read elsewhere."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _build(report: Report, place: int) -> dict[str, Any]:
    steps = report.steps or ()
    counts = {state: sum(step.state == state for step in steps) for state in WORST}
    return {
        "id": f"build-{place}",
        "report": report,
        "steps": [_step(step, report) for step in steps],
        "counts": {state: count for state, count in counts.items() if count},
        "graph": _graph(report) if steps else None,
        "failed": report.failed_step,
        "errors": [_error(line) for step in steps for line in step.instructions if line.error],
        "packed": sum(image.size.packed for image in report.images if image.size),
    }


def _error(line: Instruction) -> dict[str, str]:
    """Return what is said of a line that failed: of a script that ended badly, how, and its words apart."""
    found = OF_SCRIPT.fullmatch(line.error)
    if not found:
        return {"name": line.name, "error": line.error, "script": ""}
    try:
        script = json.loads(f'"{found["words"]}"')  # Go quotes as JSON does, but for what no script has
    except ValueError:
        script = found["words"]
    return {"name": line.name, "error": found["how"], "script": str(script).removeprefix("/bin/sh -c ")}


def _step(step: Step, report: Report) -> dict[str, Any]:
    whole = max([report.seconds, *(end for _, end in step.spans)]) or 1
    bars = [
        {"left": round(100 * max(0, start) / whole, 3), "width": round(100 * (end - max(0, start)) / whole, 3)}
        for start, end in step.spans
    ]
    return {"step": step, "bars": bars, "needs": report.graph.get(step.name, ())}


def _graph(report: Report) -> dict[str, Any]:
    rows: dict[str, list[Step]] = {name: [] for name in report.graph}
    for step in report.steps or ():
        rows.setdefault(step.name, []).append(step)
    laid = graph_layout.layout(report.graph)
    boxes = [{"box": box, **_box(box.name, rows[box.name])} for box in laid.boxes]
    paths = [{"line": line, "path": _path(line)} for line in laid.lines]
    return {"layout": laid, "boxes": boxes, "paths": paths, "width": graph_layout.WIDTH, "height": graph_layout.HEIGHT}


def _box(name: str, steps: Sequence[Step]) -> dict[str, Any]:
    state = next((each for each in WORST if any(step.state == each for step in steps)), WAITING)
    longest = max((step.seconds for step in steps), default=0.0)
    said = duration(longest) if state == DONE else state
    if state == FAILED:
        said = f"failed after {duration(longest)}"
    more = f" · {len(steps)} platforms" if len(steps) > 1 else ""
    short = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
    return {"state": state, "short": short, "said": f"{said}{more}"}


def _path(line: Line) -> str:
    """Return the way of a line as an SVG path: straight past a row, and a curve from row to row."""
    (left, top), *rest = line.points
    words = [f"M{left:g} {top:g}"]
    for before, (x, y) in zip(line.points, rest, strict=False):
        half = (before[1] + y) / 2
        words.append(f"L{x:g} {y:g}" if before[0] == x else f"C{before[0]:g} {half:g} {x:g} {half:g} {x:g} {y:g}")
    return "".join(words)


def _image(measured: Measured, shared: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    size, image = measured.size, measured.image
    numbers = sizes_budget.numbers(size)
    sizes = [layer.packed for layer in size.layers]
    maps = [treemap.tiles(sizes, ratio) for ratio in (treemap.SCREEN, treemap.TELEPHONE)]
    return {
        "image": image,
        "size": size,
        "below": measured.below,
        "tiles": [_tile(size, shared, wide, tall) for wide, tall in zip(*maps, strict=True)],
        "layers": [{"layer": layer, "shared": shared.get(layer.content, ())} for layer in size.layers],
        "any_shared": bool(shared),
        "budget": [
            {
                "key": key,
                "found": numbers[key],
                "most": most,
                "over": numbers[key] > most,
                "width": min(100, round(100 * numbers[key] / most, 1)) if most else 100,
            }
            for key, most in image.budget.items()
            if numbers.get(key)  # nothing is no number: what a registry does not know
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
    whole = pair.both + pair.only_one + pair.only_other or 1
    parts = {"one": pair.only_one, "both": pair.both, "other": pair.only_other}
    return {"pair": pair, "widths": {name: round(100 * size / whole, 3) for name, size in parts.items()}}


def _chart(name: str, points: Sequence[Point], measured: Measured) -> dict[str, Any]:
    budget = measured.image.budget.get("compressed-mb", 0) * sizes_budget.MB
    highest = max(budget, *(point.packed for point in points)) * HEADROOM or 1
    first, last = points[0].moment, points[-1].moment

    def place(point: Point) -> dict[str, Any]:
        left = 100 * (point.moment - first) / (last - first) if last > first else 50.0
        return {"point": point, "left": round(left, 2), "top": round(100 - 100 * point.packed / highest, 2)}

    placed = [place(point) for point in points]
    return {
        "name": name,
        "points": placed,
        "line": " ".join(f"{each['left']:g},{each['top']:g}" for each in placed),
        "budget": budget,
        "budget_top": round(100 - 100 * budget / highest, 2),
        "last": points[-1].packed,
        "over": bool(budget) and points[-1].packed > budget,
    }
