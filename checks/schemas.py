"""JSON Schemas, written from the types of the code by `python -m checks.schemas`.

Of what `--json` prints, and of the data files that people write: editors read the latter (docs/reference/json.md).
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dynamo_containers.facts import data_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/schemas"
COMMANDS = {
    "affected": "dynamo_containers.inspect.inventory.affected.Affected",
    "diff": "dynamo_containers.inspect.diff.Difference",
    "engine.status": "dynamo_containers.engine.status_report.EngineStatus",
    "explain": "dynamo_containers.inspect.explain.Explanation",
    "explain-list": "dynamo_containers.inspect.explain.ImageList",
    "inventory": "dynamo_containers.inspect.inventory.components.Inventory",
    "lint": "dynamo_containers.lint.lint.LintReport",
    "lock": "dynamo_containers.lock.update.LockUpdate",
    "lock-check": "dynamo_containers.lock.check.LockCheck",
    "lock-keep-pool": "dynamo_containers.lock.deb_pool.PoolCopy",
    "report": "dynamo_containers.inspect.report.show.BuildHistory",
}
"""File in docs/schemas -> the type of what the command of that name prints."""
DATA_FILES = {file.removesuffix(".toml"): kind for file, kind in data_schema.SCHEMAS.items() if file != "sccache.toml"}
"""File in docs/schemas -> the type of the data file of that name; the keys of sccache.toml are sccache's variables."""


FOR_EDITORS = ("http://json-schema.org/draft-07/schema#", "definitions")
"""The draft that editors of TOML know (https://taplo.tamasfe.dev/configuration/using-schemas.html)."""


def text(path: str) -> str:
    """Return the JSON Schema of a type."""
    module, _, name = path.rpartition(".")
    return text_of(getattr(import_module(module), name))


def text_of(answer: type, draft: tuple[str, str] = ("https://json-schema.org/draft/2020-12/schema", "$defs")) -> str:
    """Return the JSON Schema of a type; `draft` has the address of its language, and the key of its definitions."""
    language, key = draft
    (schema,), definitions = msgspec.json.schema_components([answer], ref_template=f"#/{key}/{{name}}")
    for kind in _classes(answer):
        names = _names(kind)
        for field, description in _descriptions(kind).items():
            own = definitions[kind.__name__]["properties"].get(names.get(field, field))
            if own is not None:
                allowed = own.get("description", "")
                own["description"] = f"{description} Allowed: {allowed}." if allowed else description
    schema_file = {"$schema": language, **schema, key: definitions}
    return json.dumps(schema_file, indent=2) + "\n"


def _classes(kind: type) -> Iterator[type]:
    """Yield a class of fields and all those in its fields."""
    pending, seen = [msgspec.inspect.type_info(kind)], set()
    while pending:
        node = pending.pop()
        if isinstance(node, msgspec.inspect.DataclassType | msgspec.inspect.StructType):
            if node.cls in seen:
                continue
            seen.add(node.cls)
            yield node.cls
            pending += [field.type for field in node.fields]
        parts = (getattr(node, name, None) for name in ("item_type", "value_type", "types", "item_types"))
        pending += [part for group in parts if group for part in (group if isinstance(group, tuple) else (group,))]


def _names(kind: type) -> Mapping[str, str]:
    """Return field -> its key in the file, for a record."""
    return {field.name: field.encode_name for field in msgspec.structs.fields(kind)} if _is_record(kind) else {}


def _is_record(kind: type) -> bool:
    return issubclass(kind, msgspec.Struct)


def _descriptions(kind: type) -> Mapping[str, str]:
    """Return field -> the docstring below it."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - for mypy
    pairs: dict[str, str] = {}
    for node, following in zip(body.body, body.body[1:], strict=False):
        match node, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                pairs[name] = " ".join(docstring.split())
    return pairs


def files() -> dict[Path, str]:
    """Return every schema file and its text."""
    answers = {FOLDER / f"{command}.json": text(path) for command, path in COMMANDS.items()}
    return answers | {FOLDER / f"{name}.json": text_of(kind, FOR_EDITORS) for name, kind in DATA_FILES.items()}


def main() -> None:
    """Write the schemas; remove those of commands that are gone."""
    contents = files()
    for path in FOLDER.glob("*.json"):
        if path not in contents:
            path.unlink()
    for path, content in contents.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(path.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
