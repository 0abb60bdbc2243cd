"""The page of the last builds as text; nothing in a report becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dynamo_containers.inspect.report import html as report_html
from dynamo_containers.inspect.report import trends
from dynamo_containers.inspect.report.record import (
    BUILDING,
    CACHED,
    DONE,
    FAILED,
    INTERRUPTED,
    PREPARING,
    BuildReport,
    Failure,
    RecordedImage,
    RecordedInstruction,
    RecordedNode,
    RecordedTarget,
    RequestedBuild,
)
from dynamo_containers.inspect.sizes.manifest import ImageSize, MeasuredLayer

NOW = 1795600000.0
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=y>&amp;"
VOID = {"meta", "link", "br", "img"}


def layer(name: str, packed: int, content: str = "") -> MeasuredLayer:
    return MeasuredLayer(
        name=name, digest=f"sha256:{name}", content=content or f"of {name}", packed=packed, unpacked=2 * packed
    )


def image(name: str, *layers: MeasuredLayer, digest: str = "sha256:1", limit: int = 300) -> RecordedImage:
    budget = {"compressed-mb": limit} if limit else {}
    return RecordedImage(
        name=name,
        stage="runtime",
        tag=f"{name}:1",
        digest=digest,
        package_targets=(),
        budget=budget,
        size=ImageSize(layers=layers),
    )


def report(*images: RecordedImage, name: str = "1", stage: str = "runtime", moment: float = NOW) -> BuildReport:
    targets = (
        RecordedTarget(name="os", platform="linux/amd64", state=CACHED, seconds=0.0, spans=(), instructions=()),
        RecordedTarget(
            name="top", platform="linux/amd64", state=DONE, seconds=2.5, spans=((1.0, 3.5),), instructions=()
        ),
    )
    request = RequestedBuild(
        command="invoke build.runtime --image vllm",
        stage=stage,
        images=("vllm",),
        bases="debian",
        platforms=("linux/amd64",),
        revision="0123456789abcdef-dirty",
    )
    return BuildReport(
        name=name,
        request=request,
        started=moment,
        seconds=72.0,
        outcome=DONE,
        graph={"top": ("os",), "os": ()},
        records={"default/default/x": "os"},
        targets=targets,
        images=images,
    )


def failed(error: str = "exit code: 1", log: tuple[str, ...] = ("Collecting torch", "No space left")) -> BuildReport:
    line = RecordedInstruction(name=f"[1/2] RUN {error}", state=FAILED, seconds=3.0, error=error)
    target = RecordedTarget(
        name="vllm",
        platform="linux/amd64",
        state=FAILED,
        seconds=3.0,
        spans=((1.0, 4.0),),
        instructions=(line,),
        log=log,
    )
    return replace(
        report(),
        outcome=FAILED,
        failure=Failure(phase=BUILDING, message=f"The command ended: {error}", exit_code=7),
        graph={"vllm": ()},
        targets=(target,),
    )


class Checker(HTMLParser):
    """Notes tags that are not closed, identifiers that are not there, and what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.stack += [tag] if tag not in VOID else []
        for key, value in attrs:
            assert not key.startswith("on")
            self.ids += [str(value)] if key == "id" else []
            self.named += str(value).split() if key == "aria-labelledby" else []
            self.fetched += [str(value)] if key in ("src", "href", "srcset", "data") else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def checked(*reports: BuildReport) -> str:
    """Return the page of some reports, after looking whether it is whole and stands alone."""
    text = report_html.page(reports, NOW)
    checker = Checker()
    checker.feed(text)
    assert checker.stack == []
    assert len(checker.ids) == len(set(checker.ids))
    assert set(checker.named) <= set(checker.ids)
    assert [address for address in checker.fetched if not address.startswith(("#", "data:,"))] == []
    assert not re.search(r"https?://|url\(|@import|@font-face", text)
    assert "script" not in checker.tags
    return text


def visible_text(text: str) -> str:
    """Return the text that a person reads."""
    body = re.sub(r"<(style|title)\b.*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace("\u2013", "-").split())


def test_the_page_says_what_was_asked_and_what_came_of_it() -> None:
    text = visible_text(checked(report(image("vllm", layer("os", 200_000_000), layer("dynamo", 50_000_000)))))
    for phrase in (
        "1 build recorded",
        "Last build done vllm, runtime",
        "Duration 1 min 12 s",
        "1 of 2 cached 1 done, 1 cached",
        "250.0 MB compressed, all images",
        "0123456789ab , with changes",
        "os cached - Instruction",
        "top done 2.5 s Instruction",
        "os 200.0 MB · 80 %",
        "compressed-mb 250 of 300",
        "250.0 MB, 83 % of its budget of 300.0 MB",
    ):
        assert phrase in text


def test_a_failed_build_shows_its_step_and_the_end_of_its_log() -> None:
    text = visible_text(checked(failed()))
    assert "Failed while building, in the target vllm exit code 7" in text
    assert "End of the log Collecting torch No space left" in text
    assert "failed in vllm" in text
    assert "vllm failed after 3.0 s" in text


def test_a_script_that_failed_is_shown_apart_from_how_it_ended() -> None:
    error = r'process "/bin/sh -c set -eu\n/run/check \"${ARCH}\"\n" did not complete successfully: exit code: 3'
    text = checked(failed(error))
    assert "</code>: exit code: 3</p>" in text
    assert ">set -eu\n/run/check &#34;${ARCH}&#34;\n</pre>" in text
    odd = r'process "/bin/sh -c \x" did not complete successfully: exit code: 3'
    assert ">\\x</pre>" in checked(failed(odd))


def test_a_build_that_did_not_come_to_the_engine_says_where_it_was() -> None:
    failure = Failure(phase=PREPARING, message="constraints/x.txt is stale", exit_code=4)
    page = checked(replace(report(), outcome=FAILED, failure=failure, targets=None, graph={}, records={}))
    assert "<details open><summary>Message" in page
    assert "<details><summary>Message" in checked(failed())
    text = visible_text(page)
    assert "Failed while preparing exit code 4" in text
    assert "constraints/x.txt is stale" in text
    assert "Failed before the build started." in text


def test_an_interrupted_build_is_no_failed_one() -> None:
    failure = Failure(phase=BUILDING, message="Interrupted.", exit_code=130)
    text = visible_text(checked(replace(report(), outcome=INTERRUPTED, failure=failure, targets=None)))
    assert "Interrupted while building exit code 130" in text
    assert "Its targets are unknown: no engine was queried." in text


def test_steps_that_are_not_known_have_the_reason() -> None:
    assert "Its targets are unknown: gone." in visible_text(
        checked(replace(report(), targets=None, unknown_reason="gone"))
    )


def test_a_pair_of_which_one_half_failed_says_which_machine_it_was() -> None:
    broken = failed()
    targets = tuple(replace(target, node="the builder node", platform="linux/arm64") for target in broken.targets or ())
    here = RecordedTarget(
        name="vllm",
        platform="linux/amd64",
        state=DONE,
        seconds=1.0,
        spans=(),
        instructions=(),
        node="the engine of this machine",
    )
    nodes = (
        RecordedNode(name="the engine of this machine", platforms=("linux/amd64",), variables={}, merged=False),
        RecordedNode(name="the builder node", platforms=("linux/arm64",), variables={}, merged=False),
        RecordedNode(name="the builder dead", platforms=(), variables={}, merged=False, unknown_reason="no answer"),
    )
    request = replace(broken.request, platforms=("linux/amd64", "linux/arm64"))
    text = visible_text(checked(replace(broken, request=request, targets=(here, *targets), nodes=nodes)))
    assert "in the target vllm on the builder node" in text
    assert "vllm linux/amd64 the engine of this machine done" in text
    assert "vllm linux/arm64 the builder node failed" in text
    assert "the builder dead: its targets are unknown: no answer" in text


def test_what_a_registry_does_not_know_of_a_layer_is_not_said_to_be_nothing() -> None:
    pushed = image("vllm", replace(layer("a", 10**8), unpacked=0))
    pushed = replace(pushed, budget={"compressed-mb": 300, "uncompressed-mb": 900})
    text = visible_text(checked(report(pushed)))
    assert "100.0 MB compressed, 1 layers" in text
    assert " 0 B" not in text
    assert "uncompressed-mb" not in text


def test_nothing_of_a_report_becomes_markup() -> None:
    hostile_image = image(HOSTILE, layer(HOSTILE, 5_000_000), layer("b", 3_000_000))
    twin = replace(hostile_image, name=f"{HOSTILE}2")
    hostile = replace(
        failed(HOSTILE, (HOSTILE, "</pre></details>")),
        images=(hostile_image, twin),
        graph={HOSTILE: (), "vllm": (HOSTILE,)},
    )
    request = replace(hostile.request, command=HOSTILE, images=(HOSTILE,), platforms=(HOSTILE,), revision=HOSTILE)
    text = checked(replace(hostile, request=request), replace(report(), unknown_reason=HOSTILE, targets=None))
    assert "<img" not in text
    assert "</pre></details>" not in text.replace("</pre></details>\n", "")
    assert visible_text(text).count("alert(&#39;x&#39;)") > 10


def test_the_newest_build_is_first_and_older_ones_are_lines() -> None:
    text = checked(
        *(report(name=str(number), moment=NOW + number * 60) for number in range(report_html.SHOWN_BUILDS + 3))
    )
    assert text.count('<details class="build done"') == report_html.SHOWN_BUILDS
    assert text.count(" open>") == 1
    assert visible_text(text).count("older 3 more") == 1


def test_an_image_over_its_budget_is_marked() -> None:
    text = checked(report(image("vllm", layer("os", 400_000_000))))
    assert "400 of 300, over" in visible_text(text)
    assert '<li class="over">' in text


def test_what_two_images_share_is_drawn_once_for_both() -> None:
    common, own, other = layer("torch", 600_000_000), layer("vllm", 100_000_000), layer("sglang", 300_000_000)
    text = checked(report(image("vllm", common, own), image("sglang", common, other)))
    assert "100.0 MB only in vllm 600.0 MB in both 300.0 MB only in sglang" in visible_text(text)
    assert '<i class="own" style="width:10.0%"></i><i class="both" style="width:60.0%"></i>' in text
    assert text.count('class="tile both"') == 2
    assert text.count('class="tile own"') == 2


def test_images_that_share_next_to_nothing_are_no_pair() -> None:
    common = layer("WORKDIR", 16)
    text = visible_text(
        checked(report(image("vllm", common, layer("a", 10**8)), image("sglang", common, layer("b", 10**8))))
    )
    assert "No two measured images share a layer." in text


def test_images_of_other_bases_are_not_compared() -> None:
    first = report(image("one", layer("os", 10**8)))
    second = report(image("two", layer("os", 10**8)))
    request = replace(second.request, bases="cuda")
    measured = trends.last((first, replace(second, request=request)))
    assert trends.pairs(measured) == ()
    assert len(trends.pairs(trends.last((first, second)))) == 1


def test_a_size_is_a_point_only_where_the_bytes_changed() -> None:
    sizes = [("sha256:a", 100), ("sha256:a", 100), ("sha256:b", 120), ("sha256:a", 100)]
    reports = [
        report(image("vllm", layer("os", size), digest=digest), moment=NOW + index)
        for index, (digest, size) in enumerate(sizes)
    ]
    points = trends.history(reports)["vllm"]
    assert [(point.moment - NOW, point.packed) for point in points] == [(0, 100), (2, 120), (3, 100)]


def test_an_image_that_was_not_measured_says_why() -> None:
    lost = replace(image("vllm"), size=None, unmeasured_reason="the engine no longer has it")
    text = visible_text(checked(report(lost)))
    assert "vllm:1 not measured: the engine no longer has it" in text
    assert "No image of these builds was measured." in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (72, "1 min 12 s"), (3725, "1 h 02 min")],
)
def test_a_time_is_said_as_people_say_it(seconds: float, text: str) -> None:
    assert report_html.duration(seconds) == text
