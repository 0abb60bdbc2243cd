"""`invoke lint`: findings in Dockerfiles, scripts and build graphs.

Needs no engine and no network. `# lint: allow RULE: REASON` above a line makes an exception for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dynamo_containers import file_reader
from dynamo_containers.errors import CheckFailedError, LockError, NotLockedError, UnreachableError, UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.locks import not_locked
from dynamo_containers.lint import dockerfile_rules, graph_rules
from dynamo_containers.plan import bake, dockerfile
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.prepare import inputs
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.dockerfile import Dockerfile
    from dynamo_containers.plan.request import BuildInputs, Request

EXCEPTION = re.compile(r"#\s*lint:\s*allow\s+(?P<rule>[\w-]+)(?::\s*(?P<reason>\S.*))?")
SHELL = re.compile(r"#!(?:/usr)?/bin/(?:env )?(?:ba|da)?sh\b")
OTHER_COMMIT = "0" * 40


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """A rule that a file or a target of the build graph breaks."""

    file: str
    """The file, or the folder with the target in parentheses."""
    line: int
    """0 for a target of a build graph, which has no lines."""
    rule: str
    text: str
    """What is wrong, why, and what to do instead."""

    def __str__(self) -> str:
        """Return it as compilers do, so that editors find the place."""
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.rule}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Unchecked:
    """An image on some bases whose build graph was not checked, because it cannot be planned."""

    image: str
    bases: str
    reasons: tuple[str, ...]
    """Which lock is missing or stale, for its stages and platforms."""
    knowingly: str = ""
    """Why its locks are knowingly missing; '' where one of them is missing or stale for another reason."""

    def __str__(self) -> str:
        """Return it as one line."""
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return f"  {self.image} on {self.bases}: {self.knowingly or self.reasons[0] + more}"


@dataclass(frozen=True, kw_only=True)
class LintReport:
    """Answer of `invoke lint`."""

    files: int
    """How many Dockerfiles and scripts were checked."""
    graphs: int
    """How many build graphs were checked."""
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]


def lint(catalogue: Catalogue) -> Result:
    """Check the Dockerfiles, the shell scripts beside them, and the build graph of every image.

    The exit code is 1 where there are findings; otherwise 10 where some graphs could not be planned, unless all of
    their locks are knowingly missing (`lock.not-locked.*` of images.toml).
    """
    files = tuple(_files(catalogue.folder / "containers"))
    findings = [finding for file in files for finding in in_file(str(file.relative_to(catalogue.folder)), _read(file))]
    in_graphs, unchecked, graphs = _check_graphs(catalogue)
    report = LintReport(files=len(files), graphs=graphs, findings=(*sorted(findings), *in_graphs), unchecked=unchecked)
    code = CheckFailedError.exit_code if report.findings else _unchecked_code(unchecked)
    return Result(text=text(report), data=report, exit_code=code)


def _unchecked_code(unchecked: tuple[Unchecked, ...]) -> int:
    return 0 if all(row.knowingly for row in unchecked) else UnreachableError.exit_code


def text(report: LintReport) -> str:
    """Return the findings, and what was not checked."""
    rows = [str(finding) for finding in report.findings]
    count = len(rows)
    number = f"{count} finding{'s' if count != 1 else ''} (docs/reference/lint.md):"
    title = number if rows else f"No findings in {report.files} files"
    if not report.unchecked:
        return "\n".join((title, *rows)) if rows else f"{title} and {report.graphs} build graphs."
    count = len(report.unchecked)
    subject = "1 combination has" if count == 1 else f"{count} combinations have"
    gap = f"{subject} no lock and {'was' if count == 1 else 'were'} not checked:"
    head = (title, *rows, gap) if rows else (f"{title}. {gap}",)
    return "\n".join((*head, *map(str, report.unchecked)))


def _read(file: Path) -> str:
    return file_reader.read_text(file, "/".join(file.parts[-3:]))  # containers/base/Dockerfile


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("*/*")):
        if file.is_file() and (file.name == "Dockerfile" or SHELL.match(file_reader.cached_text(file) or "")):
            yield file


def in_file(name: str, text: str) -> tuple[Finding, ...]:
    """Return what is wrong in one file without its exceptions; an exception that is not needed is wrong too."""
    is_script = not name.endswith("Dockerfile")
    parsed = dockerfile_rules.as_run(text) if is_script else dockerfile.parse(text)
    rules = [rule for rule in dockerfile_rules.RULES if rule.in_scripts or not is_script]
    findings = [
        Finding(file=name, line=line, rule=rule.name, text=f"{fault}: {rule.reason}. Instead: {rule.instead}.")
        for line, rule, fault in dockerfile_rules.findings(parsed, rules)
    ]
    exceptions = tuple(_exceptions(text))
    allowed = {(exception.target, exception.rule) for exception in exceptions if exception.reason}
    broken = {(finding.line, finding.rule) for finding in findings}
    useless = [
        Finding(file=name, line=exception.line, rule="exception", text=_useless(exception))
        for exception in exceptions
        if not exception.reason or (exception.target, exception.rule) not in broken
    ]
    return tuple(sorted([*(finding for finding in findings if (finding.line, finding.rule) not in allowed), *useless]))


class LintException(NamedTuple):
    """A comment that allows something."""

    line: int
    target: int
    """The line that it is for: the next one that is not a comment."""
    rule: str
    reason: str


def _useless(exception: LintException) -> str:
    rule = exception.rule
    if not exception.reason:
        return f"an exception for {rule} has no reason. Instead: # lint: allow {rule}: REASON."
    return f"the line below does not break {rule}, so the exception is not needed. Instead: remove it."


def _exceptions(text: str) -> Iterator[LintException]:
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if match := EXCEPTION.fullmatch(line.strip()):
            index = next((index for index in range(number, len(lines)) if not _is_comment(lines[index])), number)
            yield LintException(number, index + 1, match["rule"], match["reason"] or "")


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _check_graphs(catalogue: Catalogue) -> tuple[tuple[Finding, ...], tuple[Unchecked, ...], int]:
    """Return what is wrong in the build graphs, what could not be planned, and how many graphs were checked."""
    folders = (catalogue.folder / "containers").glob("*/Dockerfile")
    files = {file.parent.name: dockerfile.parse(_read(file)) for file in folders}
    findings: dict[Finding, None] = {}
    faults: dict[tuple[str, str], dict[str, None]] = {}
    missing: dict[tuple[str, str], set[str]] = {}
    graphs = 0
    for request in _requests(catalogue):
        key = request.images[0].name, request.bases.name
        try:
            facts = inputs.offline_build_inputs(request)
        except (LockError, UsageError) as error:
            faults.setdefault(key, {})[str(error).splitlines()[0]] = None
            missing.setdefault(key, set()).update(error.locks if isinstance(error, NotLockedError) else {""})
            continue
        graphs += 1
        findings |= dict.fromkeys(in_graph(request, facts, files))
    unchecked = (
        Unchecked(
            image=key[0],
            bases=key[1],
            reasons=tuple(reasons),
            knowingly=not_locked.reason_of(catalogue.not_locked, sorted(missing[key])),
        )
        for key, reasons in faults.items()
    )
    return tuple(findings), tuple(unchecked), graphs


def _requests(catalogue: Catalogue) -> Iterator[Request]:
    for image in catalogue.images.values():
        for stage in (stage for stage in Stage if stage in image.stages):
            for bases in image.bases:
                # One platform at a time, as it is mostly built: what is compiled, and so the graph, may differ.
                for platform in image.platforms:
                    yield request_for(
                        catalogue, stage, ImageSelection(images=[image.name], platforms=[platform.value], bases=bases)
                    )


def in_graph(request: Request, facts: BuildInputs, files: Mapping[str, Dockerfile]) -> Iterator[Finding]:
    """Return what is wrong in the graph of a request; `files` has the Dockerfile of each folder."""
    document = bake.bake_graph(BuildPart(request, facts)).document()
    other = bake.bake_graph(BuildPart(request, replace(facts, revision=OTHER_COMMIT))).document()
    findings = (
        *graph_rules.per_commit(document, other),
        *graph_rules.missing_platform(document, files),
        *graph_rules.secrets(document),
        *graph_rules.whole_checkout(document, request.catalogue.folder),
        *graph_rules.unpinned(document),
    )
    for finding in findings:
        folder = Path(document["target"][finding.target]["context"]).name
        place = f"containers/{folder} (target {finding.target})"
        yield Finding(file=place, line=0, rule=finding.rule, text=f"{finding.fault}. Instead: {finding.instead}.")
