"""Reader of a TOML table: missing, mistyped and unknown keys are refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader
from dynamo_containers.errors import UsageError
from dynamo_containers.file_reader import PERSON, Author
from dynamo_containers.value_types import InvalidValueError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.errors import FatalError
    from dynamo_containers.value_types import IntegerType, TextType


def any_of(names: Iterable[str]) -> str:
    """Return the names for a message."""
    return "one of " + ", ".join(f'"{name}"' for name in names)


def wrong(file: str, path: str, value: str, allowed: str) -> UsageError:
    """Return the error for an invalid value in a data file."""
    return UsageError(f"{file}: {path}: found {value}, allowed is {allowed}.\nEdit {file} and run again.")


class Table:
    """A TOML table whose keys are read one by one; keys that were not read are unknown and refused at the end."""

    def __init__(self, file: str, path: str, content: dict[str, Any], author: Author = PERSON) -> None:
        self.file = file
        self.path = path
        self.author = author
        self.is_secret = False
        """Whether values may be passwords, so that messages must not contain them."""
        self.content = content
        self._unread = dict(content)
        self._keys: list[str] = []

    @classmethod
    def read(cls, folder: Path, file: str, author: Author = PERSON) -> Table:
        """Read a file below `folder`.

        Raises:
            UsageError: the file does not exist, or is not TOML. If a tool writes it: LockError.
        """
        text = file_reader.read_text_if_there(folder / file, file, author)
        if text is None:
            message = f"{file} does not exist below {folder}.\nCheck that the checkout is complete with: git status"
            raise author.error(message)
        try:
            return cls(file, "", file_reader.parse_toml(text), author)
        except ValueError as error:
            raise author.fault(file, f"is not valid TOML: {error}") from None

    def _full_name(self, key: str) -> str:
        return ".".join(filter(None, (self.path, key)))

    def _refusal(self, message: str) -> FatalError:
        return self.author.refusal(self.file, message)

    def refused(self, value: str, allowed: str, key: str = "") -> FatalError:
        """Return the error for an invalid value of a key; '' for this table itself."""
        return self._refusal(f"{self.file}: {self._full_name(key)}: found {value}, allowed is {allowed}.")

    def _shown(self, value: object) -> str:
        return f"a value of type {type(value).__name__}" if self.is_secret else shown(value)

    def _take(self, key: str, kind: type, kind_name: str) -> Any:  # noqa: ANN401 - callers name the type
        self._keys.append(key)
        if key not in self._unread:
            message = f"{self.file}: {self._full_name(key)} is missing ({kind_name})."
            raise self._refusal(message)
        value = self._unread.pop(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.refused(self._shown(value), kind_name, key)
        return value

    def text(self, key: str, kind: TextType, *, optional: bool = False) -> str:
        """Read a value of a checked type; '' for an optional one that is not set."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return ""
        try:
            return kind.parse(self._take(key, str, kind.allowed))
        except InvalidValueError as error:
            raise self.refused(self._shown(error.value), kind.allowed, key) from None

    def number(self, key: str, kind: IntegerType, *, optional: bool = False) -> int:
        """Read a number of a checked type; 0 for an optional one that is not set."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return 0
        try:
            return kind.parse(self._take(key, int, kind.allowed))
        except InvalidValueError as error:
            raise self.refused(self._shown(error.value), kind.allowed, key) from None

    def texts(self, key: str, kind: TextType, *, optional: bool = False) -> tuple[str, ...]:
        """Read a list of values of a checked type; empty for an optional one that is not set."""
        values = self.strings(key, optional=optional)
        wrong_value = next((value for value in values if not kind.accepts(value)), None)
        if wrong_value is not None:
            raise self.refused(self._shown(wrong_value), kind.allowed, key)
        return values

    def check_names(self, kind: TextType) -> Table:
        """Return this table, whose keys are names of a checked type."""
        for key in self._unread:
            if not kind.accepts(key):
                message = f"{self.file}: {self.path or 'a table'} has the key {shown(key)}, allowed is {kind.allowed}."
                raise self._refusal(message)
        return self

    def string(self, key: str, *, optional: bool = False) -> str:
        """Read a string; '' for an optional one that is not set."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return ""
        return str(self._take(key, str, "a string"))

    def boolean(self, key: str) -> bool:
        """Read true or false."""
        return bool(self._take(key, bool, "true or false"))

    def integer(self, key: str, *, optional: bool = False) -> int:
        """Read a whole number; 0 for an optional one that is not set."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return 0
        return int(self._take(key, int, "a whole number"))

    def strings(self, key: str, allowed: list[str] | None = None, *, optional: bool = False) -> tuple[str, ...]:
        """Read a list of strings; empty for an optional one that is not set."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return ()
        values = self._take(key, list, "a list of strings")
        for value in values:
            if not isinstance(value, str) or (allowed is not None and value not in allowed):
                raise self.refused(self._shown(value), any_of(allowed) if allowed else "a string", key)
        return tuple(values)

    def string_table(self, key: str) -> dict[str, str]:
        """Read a table whose values are strings."""
        row = self.table(key)
        return {name: row.string(name) for name in row.keys_left()}

    def table(self, key: str, *, optional: bool = False) -> Table:
        """Read a table; empty for an optional one that is not set."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return self._inner(key, {})
        return self._inner(key, self._take(key, dict, "a table"))

    def _inner(self, key: str, content: dict[str, Any]) -> Table:
        table = Table(self.file, self._full_name(key), content, self.author)
        table.is_secret = self.is_secret
        return table

    def tables(self, key: str, *, optional: bool = False) -> dict[str, Table]:
        """Read a table of tables."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return {}
        return self.table(key).all_tables()

    def all_tables(self) -> dict[str, Table]:
        """Read all remaining keys; each must be a table."""
        return {name: self.table(name) for name in self.keys_left()}

    def keys_left(self) -> tuple[str, ...]:
        """Return the keys that were not read yet."""
        return tuple(self._unread)

    def refuse_both(self, key: str, others: Iterable[str]) -> None:
        """Refuse a key together with any of the others, because they select different kinds of rows."""
        for other in others:
            if key in self._unread and other in self._unread:
                message = f"{self.file}: {self.path} has both {key} and {other}; only one of them is allowed."
                raise self._refusal(message)

    def refuse_renamed(self, renamed: Mapping[str, str]) -> None:
        """Refuse keys that have another name now.

        Args:
            renamed: earlier name -> name now.

        Raises:
            UsageError: the table has a key of an earlier name.
        """
        for key, name in renamed.items():
            if key in self._unread:
                row = f" {self.path}:" if self.path else ""
                message = f'{self.file}:{row} unknown key "{key}"; it is called "{name}" now'
                raise self._refusal(message)

    def refuse_the_rest(self) -> None:
        """Refuse the keys that were not read."""
        for key in self._unread:
            choices = ", ".join(sorted(self._keys))
            name = shown(self._full_name(key))[1:-1]
            message = f"{self.file}: {name}: unknown key (choose from: {choices})."
            raise self._refusal(message)
