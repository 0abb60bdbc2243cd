"""Reader of a TOML table: missing, mistyped and unknown keys are refused by name."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from dynamo_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def any_of(names: Iterable[str]) -> str:
    """Return the names for a message."""
    return "one of " + ", ".join(f'"{name}"' for name in names)


def wrong(file: str, path: str, value: str, allowed: str) -> UsageError:
    """Return the error for an invalid value in a data file."""
    return UsageError(f"{file}: {path}: found {value}, allowed is {allowed}.\nEdit {file} and run again.")


class Table:
    """A TOML table whose keys are read one by one; keys that were not read are unknown and refused at the end."""

    def __init__(self, file: str, path: str, content: dict[str, Any]) -> None:
        self.file = file
        self.path = path
        self.is_secret = False
        """Whether values may be passwords, so that messages must not contain them."""
        self._unread = dict(content)
        self._keys: list[str] = []

    @classmethod
    def read(cls, folder: Path, file: str) -> Table:
        """Read a file below `folder`.

        Raises:
            UsageError: the file does not exist, or is not TOML.
        """
        try:
            return cls(file, "", tomllib.loads((folder / file).read_text(encoding="utf-8")))
        except FileNotFoundError:
            message = f"{file} does not exist below {folder}.\nCheck that the checkout is complete with: git status"
            raise UsageError(message) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            message = f"{file} is not valid TOML: {error}.\nEdit {file} and run again."
            raise UsageError(message) from None

    def _full_name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _take(self, key: str, kind: type, kind_name: str) -> Any:  # noqa: ANN401 - callers name the type
        self._keys.append(key)
        if key not in self._unread:
            message = f"{self.file}: {self._full_name(key)} is missing ({kind_name}).\nEdit {self.file} and run again."
            raise UsageError(message)
        value = self._unread.pop(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            shown = f"a value of type {type(value).__name__}" if self.is_secret else repr(value)
            raise wrong(self.file, self._full_name(key), shown, kind_name)
        return value

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
                raise wrong(self.file, self._full_name(key), repr(value), any_of(allowed) if allowed else "a string")
        return tuple(values)

    def string_table(self, key: str) -> dict[str, str]:
        """Read a table whose values are strings."""
        row = self.table(key)
        return {name: row.string(name) for name in row.keys_left()}

    def table(self, key: str, *, optional: bool = False) -> Table:
        """Read a table; empty for an optional one that is not set."""
        if optional and key not in self._unread:
            self._keys.append(key)
            return Table(self.file, self._full_name(key), {})
        return Table(self.file, self._full_name(key), self._take(key, dict, "a table"))

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
                message = (
                    f"{self.file}: {self.path} has both {key} and {other}; only one of them is allowed.\n"
                    f"Edit {self.file} and run again."
                )
                raise UsageError(message)

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
                message = (
                    f'{self.file}:{row} unknown key "{key}"; it is called "{name}" now\nEdit {self.file} and run again.'
                )
                raise UsageError(message)

    def refuse_the_rest(self) -> None:
        """Refuse the keys that were not read."""
        for key in self._unread:
            message = (
                f"{self.file}: {self._full_name(key)}: unknown key (choose from: {', '.join(sorted(self._keys))}).\n"
                f"Edit {self.file} and run again."
            )
            raise UsageError(message)
