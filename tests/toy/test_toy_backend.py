"""docs/how-to/add-a-backend.md is correct: its steps add a backend to a copy of this checkout. Takes minutes."""

from __future__ import annotations

import re
import shlex

import pytest

from dynamo_containers import process
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT
from tests import checkout_copy

PAGE = ROOT / "docs/how-to/add-a-backend.md"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = r"^```{}\n(.*?)^```$"


def blocks(language: str) -> list[str]:
    return re.findall(BLOCK.format(language), PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.engine
def test_the_backend_of_the_page_is_locked_built_and_run(capfd: pytest.CaptureFixture[str]) -> None:
    copy = checkout_copy.clone("toy-backend")
    (row,) = blocks("toml")
    with (copy / IMAGES_FILE).open("a", encoding="utf-8") as images:
        images.write(f"\n{row}")
    files = dict(FILE.findall(PAGE.read_text(encoding="utf-8")))
    assert set(files) == {"requirements/toy.in", "containers/toy/Dockerfile"}
    for name, text in files.items():
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(text, encoding="utf-8")
    (commands,) = blocks("sh")
    output = ""
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "invoke"
        process.run(checkout_copy.invoke(copy, *arguments))
        output, complaints = capfd.readouterr()
        with capfd.disabled():
            print(f"$ {line}\n{output}{complaints}", flush=True)
    assert output == "1.0 million\n"
