"""The JSON Schemas in docs/schemas are those of the types, and the types are those of the answers."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys

import msgspec
import pytest

import tasks
from checks import schemas


def test_the_schemas_are_those_of_the_types() -> None:
    on_disk = {path: path.read_text(encoding="utf-8") for path in schemas.FOLDER.glob("*.json")}
    assert on_disk == schemas.files(), "Write them with: python -m checks.schemas"


def test_every_command_with_json_has_a_schema() -> None:
    commands = {name for name in tasks.namespace.task_names if tasks.namespace[name].as_json}
    assert commands <= set(schemas.COMMANDS)


def test_images_toml_names_its_schema_for_editors() -> None:
    first, _, _ = (schemas.ROOT / "containers/images.toml").read_text(encoding="utf-8").partition("\n")
    assert first == "#:schema ../docs/schemas/images.json"


def test_the_schema_of_a_data_file_says_what_a_value_may_be() -> None:
    content = json.loads((schemas.FOLDER / "images.json").read_text(encoding="utf-8"))
    image = content["definitions"]["ImageRow"]
    assert image["additionalProperties"] is False
    assert {"title", "repository"} <= set(image["required"])
    repository = image["properties"]["repository"]
    assert repository["description"].startswith(
        "The name in its tag; no two images have the same. Allowed: the name of"
    )
    assert re.search(repository["pattern"], "dynamo-base")
    assert not re.search(repository["pattern"], "../a")
    assert content["definitions"]["LockRow"]["properties"]["cooldown-days"]["minimum"] == 0


def test_fields_are_described_by_their_docstrings() -> None:
    schema = json.loads(schemas.text(schemas.COMMANDS["lint"]))
    assert schema["$defs"]["LintReport"]["description"] == "Answer of `invoke lint`."
    files = {"type": "integer", "description": "How many Dockerfiles and scripts were checked."}
    assert schema["$defs"]["LintReport"]["properties"]["files"] == files


def answer(*line: str) -> bytes:
    command = subprocess.run(
        (sys.executable, "-m", "invoke", *line, "--json"), capture_output=True, cwd=schemas.ROOT, check=False
    )
    assert command.returncode in (0, 10), command.stderr
    return command.stdout


@pytest.mark.cli
@pytest.mark.parametrize(
    ("line", "schema"),
    [
        pytest.param("lint", "lint", id="lint"),
        pytest.param("lock --check", "lock-check", id="lock --check"),
        pytest.param("explain", "explain-list", id="explain"),
        pytest.param("explain vllm", "explain", id="explain an image"),
        pytest.param("diff constraints constraints", "diff", id="diff"),
    ],
)
def test_standard_output_is_one_answer_of_its_type(line: str, schema: str) -> None:
    module, _, name = schemas.COMMANDS[schema].rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    assert isinstance(msgspec.json.decode(answer(*line.split()), type=kind), kind)
