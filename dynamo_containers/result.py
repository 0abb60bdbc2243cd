"""Result of a command: text for a person, data for a machine, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command of `invoke` answers."""

    text: str
    """For a person."""
    data: object
    """For a machine: a frozen dataclass, whose JSON Schema is in docs/schemas."""
    exit_code: int = 0
    """As in docs/errors.md; a check that found something is not a failure of the command, and no `error:`."""

    def json(self) -> str:
        """Return the data as JSON, with the names of its fields as keys."""
        import msgspec  # only `--json` needs it

        return msgspec.json.format(msgspec.json.encode(self.data), indent=2).decode() + "\n"
