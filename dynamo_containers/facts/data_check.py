"""Check of the data that people write: every value is of its type, or is refused by file, key and what is allowed.

A content that passed is not checked again (docs/adr/0036): the digest of the content and of the rules is kept below
`.build`. It decides nothing but whether the check runs; the content itself is always read from its file.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader, state
from dynamo_containers.errors import UnsupportedHostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.toml_table import Table

LIBRARY = Path(__file__).resolve().parents[1]
RULES = ("facts/data_check.py", "facts/data_schema.py", "facts/data_types.py", "value_types.py")
"""The modules that decide what is allowed."""
KINDS = {str: "a string", int: "a whole number", bool: "true or false"}


def check(table: Table, schema: str, checkout: Path = LIBRARY.parent) -> None:
    """Check the content of a file, unless the same content passed before.

    Args:
        table: the file.
        schema: the name of its schema (`data_schema.SCHEMAS`).
        checkout: the checkout that keeps the digest of what passed.

    Raises:
        UsageError: a key is unknown or missing, or a value is not of its type.
    """
    digest, stamp = _digest(table.content), checkout / state.checked_data(schema)
    if file_reader.cached_text(stamp) == digest:
        return
    check_content(table, schema)
    from dynamo_containers import process  # only a changed file needs it

    with suppress(OSError, UnsupportedHostError):  # a checkout that cannot be written is checked every time
        process.write(process.Document(path=stamp, text=digest))


def _digest(content: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(content, default=repr).encode("utf-8", "surrogatepass"))
    for name in RULES:
        digest.update(file_reader.read_bytes(LIBRARY / name))
    return digest.hexdigest()


def check_content(table: Table, schema: str) -> None:
    """Check the content of a file; see `check`."""
    import msgspec

    from dynamo_containers.facts import data_schema

    kind = data_schema.SCHEMAS[schema]
    try:
        msgspec.convert(table.content, kind)
    except msgspec.ValidationError as error:
        _Refusal(table).explain(msgspec.inspect.type_info(kind), table.content, ())
        # The search above has the rules of msgspec; if it finds nothing, msgspec's own message is what is known.
        message = f"{table.file}: {error}.\nEdit {table.file} and run again."
        raise UsageError(message) from None


class _Refusal:
    """Search for the first wrong value of a file: msgspec names neither the keys of a table nor what is allowed."""

    def __init__(self, table: Table) -> None:
        self._file = table.file
        self._is_secret = table.is_secret

    def explain(self, kind: Any, value: object, path: tuple[str, ...]) -> None:  # noqa: ANN401 - of msgspec.inspect
        """Raise the error for the first wrong value below a value.

        Args:
            kind: the type of the value, from msgspec.inspect.
            value: the value.
            path: its keys.
        """
        from msgspec import inspect

        allowed, kind = _unwrapped(kind)
        match kind:
            case inspect.UnionType():
                (kind,) = (option for option in kind.types if not isinstance(option, inspect.NoneType))
                self.explain(kind, value, path)
            case inspect.StructType() | inspect.DictType() if not isinstance(value, dict):
                raise self._wrong(path, value, "a table")
            case inspect.StructType():
                self._explain_record(kind, value, path)  # type: ignore[arg-type] # it is a dict, see above
            case inspect.DictType():
                for name, item in value.items():  # type: ignore[attr-defined]
                    self._explain_key(kind.key_type, name, path)
                    self.explain(kind.value_type, item, (*path, name))
            case inspect.VarTupleType():
                if not isinstance(value, list):
                    raise self._wrong(path, value, "a list of strings")
                for item in value:
                    self.explain(kind.item_type, item, path)
            case _:
                self._explain_value(kind, value, (path, allowed))

    def _explain_record(self, kind: Any, value: Mapping[str, object], path: tuple[str, ...]) -> None:  # noqa: ANN401
        fields = {field.encode_name: field for field in kind.fields}
        for name in value:
            if new := kind.cls.renamed_keys.get(name):
                fault = f'{_joined(path)}: unknown key "{name}"; it is called "{new}" now'
                raise self._error(fault)
        for name, field in fields.items():
            if field.required and name not in value:
                fault = f"{_joined((*path, name))} is missing ({_name_of(field.type)})."
                raise self._error(fault)
        for name, item in value.items():
            if name not in fields:
                fault = f"{_joined((*path, name))}: unknown key (choose from: {', '.join(sorted(fields))})."
                raise self._error(fault)
            self.explain(fields[name].type, item, (*path, name))

    def _explain_key(self, kind: Any, name: str, path: tuple[str, ...]) -> None:  # noqa: ANN401 - of msgspec.inspect
        allowed, kind = _unwrapped(kind)
        if not _fits(kind, name):
            from dynamo_containers.value_types import shown

            fault = f"{_joined(path)}: found the key {shown(name)}, allowed is {allowed or _choices(kind)}."
            raise self._error(fault)

    def _explain_value(self, kind: Any, value: object, place: tuple[tuple[str, ...], str]) -> None:  # noqa: ANN401
        from msgspec import inspect

        path, allowed = place
        python_types: dict[type, type] = {inspect.StrType: str, inspect.IntType: int, inspect.BoolType: bool}
        python_type = python_types.get(type(kind))
        if python_type and type(value) is not python_type:
            raise self._wrong(path, value, KINDS[python_type])
        if not _fits(kind, value):
            raise self._wrong(path, value, allowed or _choices(kind))

    def _wrong(self, path: tuple[str, ...], value: object, allowed: str) -> UsageError:
        from dynamo_containers.value_types import shown

        found = f"a value of type {type(value).__name__}" if self._is_secret else shown(value)
        return self._error(f"{_joined(path)}: found {found}, allowed is {allowed}.")

    def _error(self, fault: str) -> UsageError:
        return UsageError(f"{self._file}: {fault}\nEdit {self._file} and run again.")


def _unwrapped(kind: Any) -> tuple[str, Any]:  # noqa: ANN401 - of msgspec.inspect
    """Return what a type allows ('' if it does not say), and the type without that."""
    from msgspec import inspect

    if isinstance(kind, inspect.Metadata):
        return str((kind.extra_json_schema or {}).get("description", "")), kind.type
    return "", kind


def _fits(kind: Any, value: object) -> bool:  # noqa: ANN401 - of msgspec.inspect
    import re

    from msgspec import inspect

    match kind, value:
        case inspect.StrType(), str():
            short = kind.max_length is None or len(value) <= kind.max_length
            return short and (kind.pattern is None or re.search(kind.pattern, value) is not None)
        case inspect.IntType(), int():
            return (kind.ge is None or value >= kind.ge) and (kind.le is None or value <= kind.le)
        case inspect.LiteralType(), _:
            return value in kind.values
    return True


def _choices(kind: Any) -> str:  # noqa: ANN401 - of msgspec.inspect
    from dynamo_containers.toml_table import any_of

    return any_of(kind.values)


def _name_of(kind: Any) -> str:  # noqa: ANN401 - of msgspec.inspect
    """Return the kind of value of a type, for the message that it is missing."""
    from msgspec import inspect

    names: dict[type, str] = {
        inspect.StrType: "a string",
        inspect.IntType: "a whole number",
        inspect.BoolType: "true or false",
        inspect.VarTupleType: "a list of strings",
    }
    return names.get(type(_unwrapped(kind)[1]), "a table")


def _joined(path: Iterable[str]) -> str:
    """Return keys as TOML joins them; a key that is not bare is quoted, with control characters escaped."""
    bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
    return ".".join(key if key and not key.strip(bare) else json.dumps(key) for key in path)
