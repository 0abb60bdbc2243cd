"""`invoke lint`: findings in Dockerfiles, scripts and build graphs.

Needs no engine and no network. `# lint: allow RULE: REASON` above a line makes an exception for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import CheckFailedError, LockError, UnreachableError, UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.lint import dockerfile_rules, graph_rules
from dynamo_containers.plan import bake, dockerfile
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.dockerfile import Dockerfile

EXCEPTION = re.compile(r"#\s*lint:\s*allow\s+(?P<rule>[\w-]+)(?::\s*(?P<reason>\S.*))?")
SHELL = re.compile(r"#!(?:/usr)?/bin/(?:env )?(?:ba|da)?sh\b")
OTHER_COMMIT = "0" * 40


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """Something that may not be, and where."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        """Return it as compilers do, so that editors find the place; a graph has no lines."""
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.rule}: {self.text}"


def lint(catalogue: Catalogue) -> str:
    """Check the Dockerfiles, the shell scripts beside them, and the graph of every image; return what to say.

    Raises:
        CheckFailedError: something was found; with each place.
        UnreachableError: nothing was found, but the graph of some images cannot be planned because of their locks.
    """
    files = tuple(_files(catalogue.folder / "containers"))
    found = [each for file in files for each in in_file(str(file.relative_to(catalogue.folder)), _read(file))]
    of_graph, unplanned, planned = _of_graph(catalogue)
    if found or of_graph:
        raise CheckFailedError(_text([*sorted(found), *of_graph]))
    said = f"Nothing found in {len(files)} files and {planned} graphs."
    if unplanned:
        message = "\n".join((said, "NOT CHECKED, because there is no plan:", *unplanned))
        raise UnreachableError(message)
    return said


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("*/*")):
        if file.is_file() and (file.name == "Dockerfile" or SHELL.match(_read(file))):
            yield file


def _text(found: Iterable[Finding]) -> str:
    lines = [str(each) for each in found]
    return "\n".join((f"{len(lines)} found in what builds the images (docs/reference/lint.md):", *lines))


def in_file(name: str, text: str) -> tuple[Finding, ...]:
    """Return what is wrong in one file, exceptions with a reason left out; one for nothing is wrong too."""
    is_script = not name.endswith("Dockerfile")
    parsed = dockerfile_rules.as_run(text) if is_script else dockerfile.parse(text)
    rules = [rule for rule in dockerfile_rules.RULES if rule.in_scripts or not is_script]
    found = [
        Finding(file=name, line=line, rule=rule.name, text=f"{what}: {rule.why}. Instead: {rule.instead}.")
        for line, rule, what in dockerfile_rules.findings(parsed, rules)
    ]
    allowed = tuple(_exceptions(text))
    excepted = {(line, rule) for _, line, rule, reason in allowed if reason}
    useless = [
        Finding(file=name, line=at, rule="exception", text=_useless(rule, reason))
        for at, line, rule, reason in allowed
        if not reason or not any((each.line, each.rule) == (line, rule) for each in found)
    ]
    return tuple(sorted([*(each for each in found if (each.line, each.rule) not in excepted), *useless]))


def _useless(rule: str, reason: str) -> str:
    if not reason:
        return f"an exception for {rule} gives no reason. Instead: # lint: allow {rule}: REASON."
    return f"nothing of {rule} is on the line below, so the exception is for nothing. Instead: remove it."


def _exceptions(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Return (its line, the line it is for, the rule, the reason) of each exception: it is for the next real line."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if found := EXCEPTION.fullmatch(line.strip()):
            meant = next((at for at in range(number, len(lines)) if not lines[at].lstrip().startswith("#")), number)
            yield number, meant + 1, found["rule"], found["reason"] or ""


def _of_graph(catalogue: Catalogue) -> tuple[list[Finding], list[str], int]:
    """Return what is wrong in the graphs of the images, which could not be planned, and how many were."""
    folders = (catalogue.folder / "containers").glob("*/Dockerfile")
    files = {file.parent.name: dockerfile.parse(_read(file)) for file in folders}
    found: dict[Finding, None] = {}
    unplanned: dict[str, None] = {}
    planned = 0
    for request in _requests(catalogue):
        try:
            facts = inputs.stated(request)
        except (LockError, UsageError) as error:
            unplanned[f"  {request.images[0].name} on {request.bases.name}: {str(error).splitlines()[0]}"] = None
            continue
        planned += 1
        found |= dict.fromkeys(in_graph(request, facts, files))
    return list(found), list(unplanned), planned


def _requests(catalogue: Catalogue) -> Iterator[Request]:
    for image in catalogue.images.values():
        for stage in (stage for stage in Stage if stage in image.stages):
            for bases in image.bases:
                # One platform at a time, as it is mostly built: what is compiled, and so the graph, may differ.
                for platform in image.platforms:
                    words = {"images": [image.name], "platforms": [platform.value], "bases": bases}
                    yield bake.request(catalogue, stage, **words)  # type: ignore[arg-type]


def in_graph(request: Request, facts: Facts, files: Mapping[str, Dockerfile]) -> Iterator[Finding]:
    """Return what is wrong in the graph of a request; `files` is what the Dockerfile in each folder says."""
    document = bake.bake(request, facts)
    other = bake.bake(request, replace(facts, revision=OTHER_COMMIT))
    rows = (
        *graph_rules.per_commit(document, other),
        *graph_rules.missing_platform(document, files),
        *graph_rules.secrets(document),
        *graph_rules.whole_checkout(document, request.catalogue.folder),
        *graph_rules.unpinned(document),
    )
    for row in rows:
        folder = Path(document["target"][row.target]["context"]).name
        where = f"containers/{folder} (target {row.target})"
        yield Finding(file=where, line=0, rule=row.rule, text=f"{row.what}. Instead: {row.instead}.")
