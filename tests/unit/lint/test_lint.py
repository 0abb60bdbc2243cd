"""`invoke lint`: every rule with what it catches and what it lets pass, and this project's own files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dynamo_containers import process
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, Stage, load_catalogue
from dynamo_containers.lint import dockerfile_rules, graph_rules
from dynamo_containers.lint import lint as graph_lint
from dynamo_containers.lint.lint import Finding, LintReport, Unchecked
from dynamo_containers.plan import dockerfile
from dynamo_containers.plan.dockerfile import Instruction, Line
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from tests.unit import planned, snapshot

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs

BAD = Path(__file__).parents[1] / "bad"
EXPECTED = {
    "registry-syntax.Dockerfile": [(1, "registry-syntax")],
    "changes-above-work.Dockerfile": [(3, "changes-above-work"), (4, "changes-above-work")],
    "unchecked-download.Dockerfile": [
        (2, "unchecked-download"),
        (3, "unchecked-download"),
        (5, "unchecked-download"),
        (8, "unchecked-download"),
        (9, "unchecked-download"),
    ],
    "unpinned-install.Dockerfile": [(line, "unpinned-install") for line in (2, 3, 4, 6, 7, 8, 10)],
    "deleted-later.Dockerfile": [(line, "deleted-later") for line in (5, 6, 12)],
    "x86-only.Dockerfile": [(line, "x86-only") for line in (1, 3, 4, 7)],
    "root-without-digest.Dockerfile": [(1, "root-without-digest"), (3, "root-without-digest")],
    "cache-without-version.Dockerfile": [(2, "cache-without-version"), (3, "cache-without-version")],
    "exception.Dockerfile": [(2, "exception"), (3, "unchecked-download"), (4, "exception")],
    "script.sh": [(3, "unchecked-download"), (4, "unpinned-install"), (5, "x86-only")],
}
"""File of tests/unit/bad -> (line, rule) of what is wrong in it."""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_file_is_caught_where_it_is_bad(name: str) -> None:
    findings = graph_lint.in_file(name, (BAD / name).read_text(encoding="utf-8"))
    assert [(finding.line, finding.rule) for finding in findings] == EXPECTED[name]


def test_every_bad_file_is_tried_and_every_rule_has_one() -> None:
    assert {file.name for file in BAD.iterdir()} == EXPECTED.keys()
    caught = {rule for rows in EXPECTED.values() for _, rule in rows}
    assert caught == {"exception", *(rule.name for rule in dockerfile_rules.RULES)}


def test_what_is_done_right_is_not_caught() -> None:
    good = (Path(__file__).parents[1] / "good.Dockerfile").read_text(encoding="utf-8")
    assert graph_lint.in_file("Dockerfile", good) == ()


def test_a_finding_says_where_what_why_and_what_to_do_instead() -> None:
    (finding,) = graph_lint.in_file("containers/x/Dockerfile", "# syntax=docker/dockerfile:1\nFROM below\n")
    assert str(finding) == (
        "containers/x/Dockerfile:1: registry-syntax: a registry serves the parser docker/dockerfile:1: a build would"
        " need that registry, which can serve another parser every day. Instead: remove the line: the engine has a"
        " parser."
    )


def test_lines_of_here_documents_are_no_instructions_and_keep_their_numbers() -> None:
    text = (
        'FROM a AS b\nRUN --mount=type=cache,id=x --network=none <<EOF\nset -eu\n# why\nADD \\\n  two\nEOF\nCMD ["x"]\n'
    )
    (stage,) = dockerfile.parse(text).stages
    assert (stage.image, stage.name, stage.line) == ("a", "b", 1)
    assert stage.steps == (
        Instruction(
            line=2,
            keyword="RUN",
            flags=("--mount=type=cache,id=x", "--network=none"),
            arguments="<<EOF",
            body=(Line(number=3, text="set -eu"), Line(number=5, text="ADD two")),
        ),
        Instruction(line=8, keyword="CMD", arguments='["x"]'),
    )


def test_continued_lines_are_one_instruction_whatever_comments_are_between() -> None:
    (stage,) = dockerfile.parse("from a\nenv A=1 \\\n# why\n\n    B=2\nuser 1\n").stages
    assert stage.steps == (
        Instruction(line=2, keyword="ENV", arguments="A=1 B=2"),
        Instruction(line=6, keyword="USER", arguments="1"),
    )


def test_a_here_document_with_tabs_or_quotes_ends_at_its_own_word() -> None:
    (stage,) = dockerfile.parse("FROM a\nRUN <<-'END' cat <<< EOF\n\tEOF\n\tEND\nUSER 1\n").stages
    assert [(step.keyword, step.line) for step in stage.steps] == [("RUN", 2), ("USER", 5)]
    assert stage.steps[0].body == (Line(number=3, text="EOF"),)


def documents(catalogue: Catalogue, facts: BuildInputs) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the documents of one image at two commits."""
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/arm64"]))
    return planned.document(request, facts), planned.document(request, replace(facts, revision="0" * 40))


FILES = {
    folder.name: dockerfile.parse((folder / "Dockerfile").read_text(encoding="utf-8"))
    for folder in (ROOT / "containers").iterdir()
    if (folder / "Dockerfile").is_file()
}


def test_the_graph_of_an_image_is_good(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=["frontend"], platforms=["linux/arm64"]))
    assert tuple(graph_lint.in_graph(request, facts, FILES)) == ()


def test_an_argument_with_the_commit_is_caught(catalogue: Catalogue, facts: BuildInputs) -> None:
    document, other = documents(catalogue, facts)
    for content, commit in ((document, "1"), (other, "2")):
        content["target"]["os"]["args"]["REVISION"] = commit
    (row,) = graph_rules.per_commit(document, other)
    assert (row.target, row.rule) == ("os", "changes-above-work")


def test_a_target_without_a_platform_is_caught_where_it_is_used(catalogue: Catalogue, facts: BuildInputs) -> None:
    document, _ = documents(catalogue, facts)
    del document["target"]["base"]["platforms"]
    rows = [(row.target, row.rule) for row in graph_rules.missing_platform(document, FILES)]
    assert rows == [("frontend-dynamo", "missing-platform"), ("frontend-runtime", "missing-platform")]


def test_an_image_without_a_platform_is_caught(catalogue: Catalogue, facts: BuildInputs) -> None:
    document, _ = documents(catalogue, facts)
    del document["target"]["frontend-runtime"]["platforms"]
    rows = [(row.target, row.rule) for row in graph_rules.missing_platform(document, FILES)]
    assert rows == [("frontend-runtime", "missing-platform")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("HF_TOKEN", "x", id="by its name"),
        pytest.param("INDEX", "https://me:secret@example.invalid/simple", id="a login in an address"),
    ],
)
def test_a_secret_in_an_argument_is_caught(catalogue: Catalogue, facts: BuildInputs, key: str, value: str) -> None:
    document, _ = documents(catalogue, facts)
    document["target"]["os"]["args"][key] = value
    rows = [(row.target, row.rule) for row in graph_rules.secrets(document)]
    assert rows == [("os", "secret-in-argument")]


def test_a_context_with_the_whole_checkout_is_caught(catalogue: Catalogue, facts: BuildInputs) -> None:
    document, _ = documents(catalogue, facts)
    document["target"]["os"]["contexts"]["sources"] = str(catalogue.folder)
    rows = [(row.target, row.rule) for row in graph_rules.whole_checkout(document, catalogue.folder)]
    assert rows == [("os", "changes-above-work")]


def test_a_root_image_by_its_tag_is_caught(catalogue: Catalogue, facts: BuildInputs) -> None:
    document, _ = documents(catalogue, facts)
    document["target"]["os"]["contexts"]["root-arm64"] = "docker-image://example.invalid/cuda:13"
    rows = [(row.target, row.rule) for row in graph_rules.unpinned(document)]
    assert rows == [("os", "root-without-digest")]


def test_the_own_files_and_graphs_have_nothing_and_what_was_not_planned_is_named(own_checkout: Path) -> None:
    with snapshot.unchanged(own_checkout):
        result = graph_lint.lint(load_catalogue(own_checkout))
    report = msgspec.json.decode(result.json(), type=LintReport)
    assert report == result.data
    assert report.findings == ()
    assert min(report.files, report.graphs) > 20
    assert result.exit_code == 0
    assert result.text.startswith(f"No findings in {report.files} files")
    assert all(row.knowingly.startswith("Not locked, knowingly, because ") for row in report.unchecked)
    assert {(row.image, row.bases) for row in report.unchecked} == {
        (image, "cuda") for image in ("frontend", "vllm", "sglang", "trtllm")
    }


@pytest.mark.parametrize("gap", ["a lock that no row names", "a stale lock"])
def test_a_graph_that_could_not_be_planned_for_another_reason_is_exit_code_10(own_checkout: Path, gap: str) -> None:
    images = own_checkout / IMAGES_FILE
    if gap == "a stale lock":
        (own_checkout / "constraints/os-debian-dev-amd64.txt").unlink()
    else:
        text = images.read_text(encoding="utf-8").replace('    "constraints/os-cuda-runtime-amd64.txt",\n', "")
        images.write_text(text, encoding="utf-8")
    result = graph_lint.lint(load_catalogue(own_checkout))
    assert result.exit_code == 10
    assert isinstance(result.data, LintReport)
    assert next(row.image for row in result.data.unchecked if not row.knowingly) == "frontend"


FINDING = Finding(file="containers/x/Dockerfile", line=1, rule="x86-only", text="amd64 is named.")
UNCHECKED = Unchecked(image="vllm", bases="cuda", reasons=("There is no lock a.", "There is no lock b."))


@pytest.mark.parametrize(
    ("findings", "unchecked", "lines"),
    [
        pytest.param((), (), ["No findings in 42 files and 7 build graphs."], id="nothing"),
        pytest.param(
            (),
            (UNCHECKED,),
            [
                "No findings in 42 files. 1 combination has no lock and was not checked:",
                "  vllm on cuda: There is no lock a. (and 1 more)",
            ],
            id="not all checked",
        ),
        pytest.param(
            (FINDING,),
            (UNCHECKED, replace(UNCHECKED, reasons=("There is no lock c.",))),
            [
                "1 finding (docs/reference/lint.md):",
                "containers/x/Dockerfile:1: x86-only: amd64 is named.",
                "2 combinations have no lock and were not checked:",
                "  vllm on cuda: There is no lock a. (and 1 more)",
                "  vllm on cuda: There is no lock c.",
            ],
            id="a finding",
        ),
    ],
)
def test_the_text_tells_findings_from_what_was_not_checked(
    findings: tuple[Finding, ...], unchecked: tuple[Unchecked, ...], lines: list[str]
) -> None:
    report = LintReport(files=42, graphs=7, findings=findings, unchecked=unchecked)
    assert graph_lint.text(report).splitlines() == lines


def test_a_finding_is_a_result_with_exit_code_1(own_checkout: Path) -> None:
    with (own_checkout / "containers/os/Dockerfile").open("a", encoding="utf-8") as file:
        file.write("RUN curl --fail https://example.invalid/\n")
    result = graph_lint.lint(load_catalogue(own_checkout))
    assert result.exit_code == 1
    assert "containers/os/Dockerfile:" in result.text


def test_the_data_have_a_schema_with_descriptions() -> None:
    schema = msgspec.json.schema(LintReport)
    assert all("description" in definition for definition in schema["$defs"].values())


def test_what_our_rules_leave_to_hadolint_it_catches() -> None:
    bad = Path(__file__).parents[1] / "hadolint.Dockerfile"
    hadolint = Path(sys.executable).parent / "hadolint"
    argv = (str(hadolint), "--config", str(ROOT / ".hadolint.yaml"), "--format", "gnu", str(bad))
    finished = process.query(process.Command(argv=argv), seconds=60)
    caught = {(int(line.split(":")[2]), line.split(":")[-2].split()[0]) for line in finished.stdout.splitlines()}
    assert finished.returncode == 1
    assert {(1, "DL3029"), (2, "DL3064"), (3, "DL3064"), (4, "DL3050"), (5, "DL3008"), (6, "DL3013")} <= caught
    assert (7, "DL3016") in caught
