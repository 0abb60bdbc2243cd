"""The script add-missing: packages that it adds to the published image of an engine, keeps or refuses."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import TYPE_CHECKING

import judge
import pytest
from judge import InstalledPackage, decide, moved, pins, table, unmet

from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

IMAGE_SITE = "/usr/lib/python3/dist-packages"
VENV_SITE = "/opt/dynamo/venv/lib/python3.12/site-packages"
LOCK = f"""\
#
# target: cuda linux/amd64, Python 3.12, glibc 2.35
#
aiohttp==3.14.5 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via ai-dynamo
pytest==9.2.0 ; python_version > "3" \\
    --hash=sha256:{"c" * 64}
    # via
    #   -c requirements/constraints.in
    #   -r requirements/ci.in
"""
OWN = pins(
    "".join(
        f"{name}=={version} \\\n    --hash=sha256:{'d' * 64}\n    # via -r requirements/base.in\n"
        for name, version in (("ai-dynamo", "1.4.2"), ("nixl", "1.3.2"), ("nixl-cu13", "1.3.2"))
    )
)


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """Return the script as a module."""
    file = ROOT / "containers/engine-image/add-missing"
    loader = SourceFileLoader("add_missing", str(file))
    spec = spec_from_loader("add_missing", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def image_packages(**packages: str) -> dict[str, InstalledPackage]:
    """Return the packages of the image: name (with _ for -) and version."""
    return {
        name.replace("_", "-"): InstalledPackage(version=version, place=IMAGE_SITE)
        for name, version in packages.items()
    }


def added(*requires: str, name: str = "ai-dynamo") -> dict[str, InstalledPackage]:
    return {name: InstalledPackage(version="1.4.2", place=VENV_SITE, requires=requires)}


def install(folder: Path, name: str, version: str, files: dict[str, str] | None = None) -> None:
    """Write the files of an installed package."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files or {}), encoding="utf-8")
    for file, text in (files or {}).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")


def test_a_lock_gives_each_pin_with_its_own_lines_and_whether_it_is_asked_for_by_name() -> None:
    parsed = pins(LOCK)
    assert {name: (pin.version, pin.named) for name, pin in parsed.items()} == {
        "aiohttp": ("3.14.5", False),
        "pytest": ("9.2.0", True),
    }
    assert parsed["aiohttp"].text.count("--hash=sha256:") == 2


def test_what_is_wanted_by_name_is_added_where_the_image_lacks_it() -> None:
    decision = decide(pins(LOCK), OWN, image_packages(nixl="1.3.2"))
    assert [pin.name for pin in decision.add] == ["pytest", "ai-dynamo", "nixl-cu13"]
    assert decision.refused == ()


def test_what_the_image_has_in_another_version_is_kept() -> None:
    decision = decide(pins(LOCK), OWN, image_packages(pytest="8.0.0", aiohttp="3.0.0"))
    assert [pin.name for pin in decision.add] == ["ai-dynamo", "nixl", "nixl-cu13"]
    assert decision.refused == ()


@pytest.mark.parametrize(
    ("installed", "package"),
    [
        pytest.param(image_packages(nixl="1.2.0"), "nixl 1.2.0", id="another NIXL"),
        pytest.param(image_packages(nixl_cu12="1.2.0"), "nixl-cu12 1.2.0", id="of another CUDA major"),
        pytest.param(image_packages(ai_dynamo="1.3.0"), "ai-dynamo 1.3.0", id="another Dynamo"),
    ],
)
def test_another_nixl_or_dynamo_is_refused_by_name(installed: dict[str, InstalledPackage], package: str) -> None:
    (reason,) = decide({}, OWN, installed).refused
    version = "1.4.2" if "dynamo" in package else "1.3.2"
    assert reason == f"The image has {package} in {IMAGE_SITE}, and the base stage has {version}."


def test_a_requirement_is_met_by_what_the_image_has() -> None:
    assert unmet({**added("aiohttp>=3"), **image_packages(aiohttp="3.0.0")}, ["ai-dynamo"], []) == []


def test_a_pre_release_meets_a_requirement_as_it_stands_there() -> None:
    assert unmet({**added("torch>=2"), **image_packages(torch="2.11.0a0+nv26.1")}, ["ai-dynamo"], []) == []


def test_what_is_too_old_or_missing_is_a_row_each() -> None:
    here = {**added("aiohttp>=3.5", "Typing_Extensions"), **image_packages(aiohttp="3.0.0")}
    assert unmet(here, ["ai-dynamo"], []) == [
        ("aiohttp", ">=3.5", "3.0.0", "ai-dynamo"),
        ("typing-extensions", "any", "nothing", "ai-dynamo"),
    ]


def test_a_requirement_for_other_machines_or_of_an_extra_that_nobody_asks_for_does_not_count() -> None:
    here = added('pywin32; sys_platform == "win32"', 'vllm==0.26.0; extra == "vllm"')
    assert unmet(here, ["ai-dynamo"], []) == []


def test_an_extra_is_followed_into_what_the_image_has() -> None:
    uvicorn = InstalledPackage(
        version="1.0", place=IMAGE_SITE, requires=("click>=8", 'httptools>=0.6; extra == "standard"')
    )
    here = {**added("uvicorn[standard]"), "uvicorn": uvicorn}
    # Not `click`: conflicts between the packages of the image itself are not checked.
    assert unmet(here, ["ai-dynamo"], []) == [("httptools", ">=0.6", "nothing", "uvicorn")]


def test_what_is_left_out_on_purpose_is_not_missed() -> None:
    assert unmet(added("nixl-cu12==1.3.2", name="nixl"), ["nixl"], ["nixl-cu12"]) == []


def test_the_requirements_of_the_image_s_own_packages_are_not_judged() -> None:
    broken = {
        "engine": InstalledPackage(version="1", place=IMAGE_SITE, requires=("numpy<2",)),
        **image_packages(numpy="2.5.5"),
    }
    assert unmet({**broken, **added()}, ["ai-dynamo"], []) == []


def test_a_package_of_the_image_that_moved_is_gone_or_is_found_elsewhere_is_named() -> None:
    before = image_packages(aiohttp="3.0.0", torch="2.11.0", numpy="2.5.5", six="1.17.0")
    after = {
        **image_packages(numpy="2.5.5", aiohttp="3.14.5"),
        "six": InstalledPackage(version="1.17.0", place=VENV_SITE),
        "idna": InstalledPackage(version="3.20", place=VENV_SITE),
    }
    assert moved(before, after) == [
        f"aiohttp 3.0.0 of {IMAGE_SITE} is now 3.14.5 of {IMAGE_SITE}",
        f"six 1.17.0 of {IMAGE_SITE} is now 1.17.0 of {VENV_SITE}",
        f"torch 2.11.0 of {IMAGE_SITE} is gone",
    ]


def test_the_table_has_a_column_for_each_word() -> None:
    assert table([("aiohttp", ">=3.5", "3.0.0", "ai-dynamo")]) == (
        "  package  wanted  the image has  by\n  aiohttp  >=3.5   3.0.0          ai-dynamo"
    )


def test_names_are_written_as_locks_write_them() -> None:
    assert judge.normal("Typing_Extensions.more") == "typing-extensions-more"


def test_of_two_installed_with_one_name_the_first_on_the_path_counts(program: ModuleType, tmp_path: Path) -> None:
    install(tmp_path / "one", "Some_Thing", "1.0", {"some/thing.py": "", "some/data.txt": ""})
    install(tmp_path / "two", "some.thing", "2.0")
    installed = program.installed([str(tmp_path / "one"), str(tmp_path / "two")])
    assert {name: (distribution.version, distribution.place) for name, distribution in installed.items()} == {
        "some-thing": ("1.0", str(tmp_path / "one"))
    }
    assert installed["some-thing"].files == ("some/thing.py",)


def test_a_file_that_hides_one_of_the_image_is_named_and_a_shared_namespace_is_not(
    program: ModuleType, tmp_path: Path
) -> None:
    install(tmp_path / "image", "engine", "1.0", {"kernels/__init__.py": "theirs", "google/__init__.py": "same"})
    install(tmp_path / "venv", "new", "1.0", {"kernels/__init__.py": "ours", "google/__init__.py": "same"})
    before = program.installed([str(tmp_path / "image")])
    after = program.installed([str(tmp_path / "venv"), str(tmp_path / "image")])
    assert program.shadowed(before, after, ["new"]) == [f"new hides {tmp_path}/image/kernels/__init__.py"]


def test_a_nixl_that_no_python_package_has_is_found_by_its_library(program: ModuleType, tmp_path: Path) -> None:
    for file in ("site/.nixl_cu13.mesonpy.libs/libnixl.so", "opt/nvda_nixl/lib/libnixl.so.1", "opt/libnixlish.so"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert program.strange_nixl(str(tmp_path), [f"{tmp_path}/site"]) == [f"{tmp_path}/opt/nvda_nixl/lib/libnixl.so.1"]


def test_nixl_s_libraries_are_linked_where_they_are_also_in_the_image(program: ModuleType, tmp_path: Path) -> None:
    libraries = tmp_path / "image/.nixl_cu13.mesonpy.libs"
    libraries.mkdir(parents=True)
    (libraries / "libnixl.so").touch()
    here = {
        "nixl-cu13": InstalledPackage(version="1.3.2", place=str(tmp_path / "image")),
        **image_packages(nixl="1.3.2"),
    }
    assert list(program.link_nixl(tmp_path, here)) == []
    assert (tmp_path / "nixl/lib").resolve() == libraries


def test_without_nixl_s_libraries_the_image_is_refused(program: ModuleType, tmp_path: Path) -> None:
    (reason,) = program.link_nixl(tmp_path, image_packages(nixl="1.3.2"))
    assert reason.startswith("NIXL's libraries must be in one place, but are in 0")


def test_an_environment_finds_what_a_python_that_is_one_itself_has(tmp_path: Path) -> None:
    image_venv, venv = tmp_path / "theirs", tmp_path / "ours"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(image_venv)), check=True)
    (site,) = image_venv.glob("lib/python*/site-packages")
    (site / "engine.py").write_text("", encoding="utf-8")
    folder = ROOT / "containers/engine-image"
    script = (
        f"import sys; sys.path.insert(1, {str(folder)!r}); from importlib.machinery import SourceFileLoader; "
        f"program = SourceFileLoader('add_missing', {str(folder / 'add-missing')!r}).load_module(); "
        f"from pathlib import Path; program.make_environment(Path({str(venv)!r}))"
    )
    subprocess.run((str(image_venv / "bin/python"), "-W", "ignore", "-B", "-c", script), check=True)
    finished = subprocess.run(
        (str(venv / "bin/python"), "-c", "import engine; print(engine.__file__)"),
        check=True,
        stdout=subprocess.PIPE,
    )
    assert finished.stdout.decode().strip() == str(site / "engine.py")
