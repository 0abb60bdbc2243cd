"""docs/add-a-backend.md is true: who does what it says, on a copy of this checkout, has a backend. Takes minutes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine, model, run

if TYPE_CHECKING:
    from pathlib import Path

PAGE = model.ROOT / "docs/add-a-backend.md"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = r"^```{}\n(.*?)^```$"
CACHES = ("downloads", "programs", "roots", "tools")
"""What a build of this checkout made and a copy need not make again."""


def blocks(language: str) -> list[str]:
    return re.findall(BLOCK.format(language), PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def copy() -> Path:
    """Return a clone of the last commit, beside the caches that it takes over: a link is none across disks."""
    place = model.ROOT / ".build/toy-backend"
    shutil.rmtree(place, ignore_errors=True)
    run.call(run.Command(argv=("git", "clone", "--quiet", str(model.ROOT), str(place))))
    for name in CACHES:
        if (model.ROOT / ".build" / name).is_dir():
            shutil.copytree(model.ROOT / ".build" / name, place / ".build" / name, copy_function=os.link, symlinks=True)
    return place


@pytest.mark.engine
def test_the_backend_of_the_page_is_locked_built_and_run(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (row,) = blocks("toml")
    with (copy / model.IMAGES_FILE).open("a", encoding="utf-8") as images:
        images.write(f"\n{row}")
    files = dict(FILE.findall(PAGE.read_text(encoding="utf-8")))
    assert set(files) == {"requirements/toy.in", "containers/toy/Dockerfile"}
    for name, text in files.items():
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(text, encoding="utf-8")
    (commands,) = blocks("sh")
    output = ""
    for line in commands.splitlines():
        invoke(copy, *shlex.split(line))
        output, complaints = capfd.readouterr()
        with capfd.disabled():
            print(f"$ {line}\n{output}{complaints}", flush=True)
    assert output == "1.0 million\n"


def invoke(copy: Path, *words: str) -> None:
    program, *rest = words
    assert program == "invoke"
    # `python -m` looks in the working directory first: there the copy's own library must be.
    argv = ("env", f"--chdir={copy}", sys.executable, "-m", "invoke", *rest)
    run.call(run.Command(argv=argv, env=engine.environment(model.ROOT)))
