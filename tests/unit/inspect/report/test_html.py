"""The page of the last builds, as text: what it says, and that nothing of a report gets into it as markup."""

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
    Asked,
    Failure,
    Image,
    Instruction,
    Machine,
    Report,
    Step,
)
from dynamo_containers.inspect.sizes.manifest import ImageSize, Layer

NOW = 1795600000.0
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=y>&amp;"
VOID = {"meta", "link", "br", "img"}


def layer(name: str, packed: int, content: str = "") -> Layer:
    return Layer(
        name=name, digest=f"sha256:{name}", content=content or f"of {name}", packed=packed, unpacked=2 * packed
    )


def image(name: str, *layers: Layer, digest: str = "sha256:1", most: int = 300) -> Image:
    budget = {"compressed-mb": most} if most else {}
    return Image(
        name=name,
        stage="runtime",
        tag=f"{name}:1",
        digest=digest,
        trees=(),
        budget=budget,
        size=ImageSize(layers=layers),
    )


def report(*made: Image, name: str = "1", stage: str = "runtime", moment: float = NOW) -> Report:
    steps = (
        Step(name="os", platform="linux/amd64", state=CACHED, seconds=0.0, spans=(), instructions=()),
        Step(name="top", platform="linux/amd64", state=DONE, seconds=2.5, spans=((1.0, 3.5),), instructions=()),
    )
    asked = Asked(
        command="invoke build.runtime --image vllm",
        stage=stage,
        images=("vllm",),
        bases="debian",
        platforms=("linux/amd64",),
        revision="0123456789abcdef-dirty",
    )
    return Report(
        name=name,
        asked=asked,
        started=moment,
        seconds=72.0,
        outcome=DONE,
        graph={"top": ("os",), "os": ()},
        records={"default/default/x": "os"},
        steps=steps,
        images=made,
    )


def failed(words: str = "exit code: 1", log: tuple[str, ...] = ("Collecting torch", "No space left")) -> Report:
    line = Instruction(name=f"[1/2] RUN {words}", state=FAILED, seconds=3.0, error=words)
    step = Step(
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
        failure=Failure(phase=BUILDING, message=f"The command ended: {words}", exit_code=7),
        graph={"vllm": ()},
        steps=(step,),
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


def checked(*reports: Report) -> str:
    """Return the page of some reports, after looking whether it is whole and stands alone."""
    text = report_html.page(reports, NOW)
    checker = Checker()
    checker.feed(text)
    assert checker.stack == []
    assert len(checker.ids) == len(set(checker.ids))
    assert set(checker.named) <= set(checker.ids)
    assert [each for each in checker.fetched if not each.startswith(("#", "data:,"))] == []
    assert not re.search(r"https?://|url\(|@import|@font-face", text)
    assert "script" not in checker.tags
    return text


def said(text: str) -> str:
    """Return what a person reads."""
    visible = re.sub(r"<(style|title)\b.*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", visible).replace("\u2013", "-").split())


def test_the_page_says_what_was_asked_and_what_came_of_it() -> None:
    text = said(checked(report(image("vllm", layer("os", 200_000_000), layer("dynamo", 50_000_000)))))
    for words in (
        "1 build kept",
        "Last build done vllm, runtime",
        "It took 1 min 12 s",
        "1 of 2 cached 1 done, 1 cached",
        "250.0 MB compressed, all its images",
        "0123456789ab , with changes",
        "os cached - Instruction",
        "top done 2.5 s Instruction",
        "os 200.0 MB · 80 %",
        "compressed-mb 250 of 300",
        "250.0 MB, 83 % of its budget of 300.0 MB",
    ):
        assert words in text


def test_a_failed_build_shows_its_step_and_the_end_of_its_log() -> None:
    text = said(checked(failed()))
    assert "It failed while building, in the step vllm exit code 7" in text
    assert "The end of its log Collecting torch No space left" in text
    assert "failed in vllm" in text
    assert "vllm failed after 3.0 s" in text


def test_a_script_that_failed_is_shown_apart_from_how_it_ended() -> None:
    words = r'process "/bin/sh -c set -eu\n/run/check \"${ARCH}\"\n" did not complete successfully: exit code: 3'
    text = checked(failed(words))
    assert "</code>: exit code: 3</p>" in text
    assert ">set -eu\n/run/check &#34;${ARCH}&#34;\n</pre>" in text
    odd = r'process "/bin/sh -c \x" did not complete successfully: exit code: 3'
    assert ">\\x</pre>" in checked(failed(odd))


def test_a_build_that_did_not_come_to_the_engine_says_where_it_was() -> None:
    failure = Failure(phase=PREPARING, message="constraints/x.txt is stale", exit_code=4)
    page = checked(replace(report(), outcome=FAILED, failure=failure, steps=None, graph={}, records={}))
    assert "<details open><summary>The message" in page
    assert "<details><summary>The message" in checked(failed())
    text = said(page)
    assert "It failed while preparing exit code 4" in text
    assert "constraints/x.txt is stale" in text
    assert "It did not come to the engine" in text


def test_an_interrupted_build_is_no_failed_one() -> None:
    failure = Failure(phase=BUILDING, message="It was interrupted.", exit_code=130)
    text = said(checked(replace(report(), outcome=INTERRUPTED, failure=failure, steps=None)))
    assert "It was interrupted while building exit code 130" in text
    assert "Its steps are not known: no engine was asked." in text


def test_steps_that_are_not_known_have_the_reason() -> None:
    assert "Its steps are not known: gone." in said(checked(replace(report(), steps=None, unknown="gone")))


def test_a_pair_of_which_one_half_failed_says_which_machine_it_was() -> None:
    broken = failed()
    steps = tuple(replace(step, machine="the builder node", platform="linux/arm64") for step in broken.steps or ())
    here = Step(
        name="vllm",
        platform="linux/amd64",
        state=DONE,
        seconds=1.0,
        spans=(),
        instructions=(),
        machine="the engine of this machine",
    )
    machines = (
        Machine(name="the engine of this machine", platforms=("linux/amd64",), variables={}, joined=False),
        Machine(name="the builder node", platforms=("linux/arm64",), variables={}, joined=False),
        Machine(name="the builder dead", platforms=(), variables={}, joined=False, unknown="no answer"),
    )
    asked = replace(broken.asked, platforms=("linux/amd64", "linux/arm64"))
    text = said(checked(replace(broken, asked=asked, steps=(here, *steps), machines=machines)))
    assert "in the step vllm of the builder node" in text
    assert "vllm linux/amd64 the engine of this machine done" in text
    assert "vllm linux/arm64 the builder node failed" in text
    assert "the builder dead: its steps are not known: no answer" in text


def test_what_a_registry_does_not_know_of_a_layer_is_not_said_to_be_nothing() -> None:
    pushed = image("vllm", replace(layer("a", 10**8), unpacked=0))
    pushed = replace(pushed, budget={"compressed-mb": 300, "uncompressed-mb": 900})
    text = said(checked(report(pushed)))
    assert "100.0 MB compressed, 1 layers" in text
    assert " 0 B" not in text
    assert "uncompressed-mb" not in text


def test_nothing_of_a_report_becomes_markup() -> None:
    made = image(HOSTILE, layer(HOSTILE, 5_000_000), layer("b", 3_000_000))
    twin = replace(made, name=f"{HOSTILE}2")
    hostile = replace(
        failed(HOSTILE, (HOSTILE, "</pre></details>")),
        images=(made, twin),
        graph={HOSTILE: (), "vllm": (HOSTILE,)},
    )
    asked = replace(hostile.asked, command=HOSTILE, images=(HOSTILE,), platforms=(HOSTILE,), revision=HOSTILE)
    text = checked(replace(hostile, asked=asked), replace(report(), unknown=HOSTILE, steps=None))
    assert "<img" not in text
    assert "</pre></details>" not in text.replace("</pre></details>\n", "")
    assert said(text).count("alert(&#39;x&#39;)") > 10


def test_the_newest_build_is_first_and_older_ones_are_lines() -> None:
    text = checked(
        *(report(name=str(number), moment=NOW + number * 60) for number in range(report_html.SHOWN_BUILDS + 3))
    )
    assert text.count('<details class="build done"') == report_html.SHOWN_BUILDS
    assert text.count(" open>") == 1
    assert said(text).count("older 3 more") == 1


def test_an_image_over_its_budget_is_marked() -> None:
    text = checked(report(image("vllm", layer("os", 400_000_000))))
    assert "400 of 300, over" in said(text)
    assert '<li class="over">' in text


def test_what_two_images_share_is_drawn_once_for_both() -> None:
    common, own, other = layer("torch", 600_000_000), layer("vllm", 100_000_000), layer("sglang", 300_000_000)
    text = checked(report(image("vllm", common, own), image("sglang", common, other)))
    assert "100.0 MB only in vllm 600.0 MB in both 300.0 MB only in sglang" in said(text)
    assert '<i class="own" style="width:10.0%"></i><i class="both" style="width:60.0%"></i>' in text
    assert text.count('class="tile both"') == 2
    assert text.count('class="tile own"') == 2


def test_images_that_share_next_to_nothing_are_no_pair() -> None:
    common = layer("WORKDIR", 16)
    text = said(checked(report(image("vllm", common, layer("a", 10**8)), image("sglang", common, layer("b", 10**8)))))
    assert "No two measured images share a layer." in text


def test_images_of_other_bases_are_not_compared() -> None:
    here = report(image("one", layer("os", 10**8)))
    there = report(image("two", layer("os", 10**8)))
    asked = replace(there.asked, bases="cuda")
    measured = trends.last((here, replace(there, asked=asked)))
    assert trends.pairs(measured) == ()
    assert len(trends.pairs(trends.last((here, there)))) == 1


def test_a_size_is_a_point_only_where_the_bytes_changed() -> None:
    sizes = [("sha256:a", 100), ("sha256:a", 100), ("sha256:b", 120), ("sha256:a", 100)]
    reports = [
        report(image("vllm", layer("os", size), digest=digest), moment=NOW + place)
        for place, (digest, size) in enumerate(sizes)
    ]
    points = trends.history(reports)["vllm"]
    assert [(point.moment - NOW, point.packed) for point in points] == [(0, 100), (2, 120), (3, 100)]


def test_an_image_that_was_not_measured_says_why() -> None:
    lost = replace(image("vllm"), size=None, unmeasured="the engine no longer has it")
    text = said(checked(report(lost)))
    assert "vllm:1 not measured: the engine no longer has it" in text
    assert "No image of these builds was measured." in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (72, "1 min 12 s"), (3725, "1 h 02 min")],
)
def test_a_time_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert report_html.duration(seconds) == words
