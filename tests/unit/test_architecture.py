"""Rooms of dynamo_containers: who may import whom, and that tests mirror them (docs/explanation/architecture.md)."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from dynamo_containers.facts.catalogue import ROOT

PACKAGE = "dynamo_containers"
LIBRARY = ROOT / PACKAGE
BELOW_VERBS = frozenset({"root", "facts", "upstream", "engine", "plan", "prepare"})
MAY_IMPORT = {
    "root": frozenset[str](),
    "facts": frozenset({"root"}),
    "upstream": frozenset({"root", "facts"}),
    "engine": frozenset({"root", "facts", "upstream"}),
    "plan": frozenset({"root", "facts"}),
    "prepare": BELOW_VERBS - {"prepare"},
    "inspect": BELOW_VERBS,
    "lock": BELOW_VERBS,
    "lint": BELOW_VERBS,
    "builds": BELOW_VERBS | {"inspect"},
}
"""Room -> the rooms that it may import besides itself; `root` are the single modules."""
ACTS = frozenset({"os", "time", "subprocess", "shutil", "tempfile", "socket", "urllib.request"})
"""Modules of Python by which a module would see the clock, the environment, files or processes."""


class Import(NamedTuple):
    """An import of a module of the library by another."""

    importer: str
    imported: str
    name: str


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    first = module.split(".")[1] if "." in module else ""
    return first if (LIBRARY / first).is_dir() and first else "root"


@cache
def modules() -> dict[str, ast.Module]:
    return {module_name(file): ast.parse(file.read_bytes()) for file in sorted(LIBRARY.rglob("*.py"))}


@cache
def imports() -> tuple[Import, ...]:
    return tuple(
        Import(importer, target if (target := f"{node.module}.{alias.name}") in modules() else node.module, alias.name)
        for importer, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == PACKAGE
        for alias in node.names
    )


def test_every_room_is_in_the_table() -> None:
    assert {room(module) for module in modules()} == set(MAY_IMPORT)


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_imports_only_rooms_below_it(name: str) -> None:
    upward = {
        edge
        for edge in imports()
        if room(edge.importer) == name and room(edge.imported) not in MAY_IMPORT[name] | {name}
    }
    # A planner may use constants of the engine and the value `Docker`, and cannot query the engine with them.
    harmless = {
        edge
        for edge in upward
        if name == "plan" and room(edge.imported) == "engine" and (edge.name.isupper() or edge.name == "Docker")
    }
    assert upward == harmless


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for edge in imports():
        # A package is not above its own modules: `from dynamo_containers.engine import endpoint` is about the module.
        if edge.imported in graph and not f"{edge.importer}.".startswith(f"{edge.imported}."):
            graph[edge.importer].add(edge.imported)
    TopologicalSorter(graph).prepare()  # a circle is its CycleError, which names the modules


def test_planners_see_no_clock_environment_process_or_file() -> None:
    acting = {
        (module, alias.name)
        for module, tree in modules().items()
        if room(module) == "plan"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name in ACTS
    }
    assert acting == set()


def test_processes_are_started_by_one_module() -> None:
    starting = {
        module
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name == "subprocess" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "subprocess")
    }
    assert starting == {f"{PACKAGE}.process"}


OWN_READING = {
    ("engine.daemon", "read_text"): "/proc of the kernel, and a log that may have any bytes",
    ("engine.emulation", "read_text"): "binfmt_misc of the kernel",
    ("engine.emulation", "open"): "it writes to binfmt_misc of the kernel",
    ("engine.host_checks", "open"): "it tries a device",
    ("file_lock", "open"): "it opens a file to hold it locked",
    ("inspect.in_container.contents", "open"): "it runs inside a container, without the library",
    ("inspect.in_container.packages", "read_text"): "it runs inside a container, without the library",
    ("integrity", "open"): "it hashes a file of any size piece by piece",
    ("prepare.build_secrets", "open"): "it opens a file to hold it locked",
    ("prepare.contents.go_build_info", "open"): "it maps a binary of any size",
    ("prepare.contents.image", "open"): "it reads ranges of archives of GB, and compares manifests with their digests",
    ("prepare.contents.layer", "open"): "it opens members of tar and zip archives",
    ("prepare.contents.package_file", "open"): "it opens a tar archive",
    ("prepare.contents.wheel", "open"): "it opens a member of a zip archive",
    ("prepare.oci_layout", "open"): "it hashes and packs a root image piece by piece",
    ("process", "open"): "it writes the log of a process, and reads the first bytes of a program",
    ("signals", "open"): "/proc of the kernel, before pathlib is loaded",
    ("transaction", "open"): "it lets the renames in a folder reach the disk",
    ("upstream.release_archive", "open"): "it opens a tar archive",
}
"""(module, function) -> why it opens a file by itself."""
READING = frozenset({"read_text", "read_bytes", "open", "load", "loads"})


def test_files_are_read_by_one_module() -> None:
    """Anything else would need its own answer to bytes that are no text, a folder, a loop of links, deep brackets."""
    reading = {
        (module.removeprefix(f"{PACKAGE}."), name)
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for owner, name in [_owner_and_name(node.func)]
        if name in READING and owner != "file_reader" and (owner in {"json", "tomllib"} or not name.startswith("load"))
    }
    assert {row for row in reading if row[0] != "file_reader"} == OWN_READING.keys()


def _owner_and_name(function: ast.expr) -> tuple[str, str]:
    if isinstance(function, ast.Attribute):
        return getattr(function.value, "id", ""), function.attr
    return "", getattr(function, "id", "")


def test_front_ends_call_no_private_name() -> None:
    private = {
        (file, node.attr)
        for file in ("tasks.py", "noxfile.py")
        for node in ast.walk(ast.parse((ROOT / file).read_bytes()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }
    assert private == set()


def test_every_room_and_module_says_what_it_holds_and_asks_no_question() -> None:
    first_lines = {module: (ast.get_docstring(tree) or "").partition("\n")[0] for module, tree in modules().items()}
    assert {module for module, line in first_lines.items() if not line or line.endswith("?")} == set()


def test_the_docstring_of_the_library_names_every_room() -> None:
    text = ast.get_docstring(modules()[PACKAGE]) or ""
    assert {name for name in MAY_IMPORT if name != "root" and f"{name}/" not in text} == set()


def test_unit_tests_mirror_the_rooms_and_none_is_lost(request: pytest.FixtureRequest) -> None:
    """Two files of one name in two folders need --import-mode=importlib, or one of them would not be collected."""
    unit = Path(__file__).parent
    files = {file.relative_to(unit) for file in unit.rglob("test_*.py")}
    rooms = {file.parts[0] for file in files if len(file.parts) > 1}
    assert {name for name in MAY_IMPORT if name != "root"} <= rooms
    is_complete_run = [(request.config.rootpath / argument).resolve() for argument in request.config.args] == [unit]
    if (
        is_complete_run and not request.config.option.markexpr
    ):  # as `nox -s unit` asks for; of a part, what is not asked for is not missing
        assert len(files) == len({item.path for item in request.session.items})
