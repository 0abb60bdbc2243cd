"""Checked types of the values in data files: digest, version, path, name, moment, size; each has one definition.

A reader parses a value where it reads it, so that no other module has to doubt it. Many values become a part of a path,
a URL or a command line later. So each type allows an alphabet, and refuses the rest: separators, `..`, quotes, `$`,
spaces, control characters, and a hyphen at the beginning where a program would take the value for an option.

Regular expressions are compiled at the first use. A pattern is also valid in a JSON Schema
(ECMA-262), for readers that are generated from one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHOWN = 60
"""Characters of a wrong value that a message shows."""
LONGEST_NUMBER = 19
"""Digits of the largest number of 64 bits."""
LONGEST = 255
"""Characters of most values: the longest name of a file on Linux (NAME_MAX), because most become a part of one."""


class InvalidValueError(ValueError):
    """A value is not of its type; the message has the value and what is allowed, the reader adds file and place."""

    def __init__(self, value: object, allowed: str, field: str = "") -> None:
        place = f"{field}: " if field else ""
        super().__init__(f"{place}found {shown(value)}, allowed is {allowed}")
        self.value = value
        self.allowed = allowed


def shown(value: object) -> str:
    """Return a value for a message: its repr, on one line and shortened, so that control characters are visible."""
    if isinstance(value, int) and abs(value) >= 10**SHOWN:  # Python refuses to print very long numbers
        return f"a number of more than {SHOWN} digits"
    text = repr(value[: 2 * SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]}...{text[-1]}"


@dataclass(frozen=True, kw_only=True)
class TextType:
    """A type of text: which texts are values of it."""

    body: str
    """Regular expression of a whole value."""
    allowed: str
    """What is allowed, for messages and schemas: `64 hexadecimal digits`."""
    longest: int = LONGEST
    """Characters of the longest value."""
    rule: Callable[[str], bool] | None = None
    """What a regular expression cannot say."""

    @cached_property
    def _fullmatch(self) -> Callable[[str], object]:
        return re.compile(self.body).fullmatch

    @property
    def pattern(self) -> str:
        """Return the regular expression for a JSON Schema or msgspec, which search in a value.

        In Python `$` also matches before a newline at the end; the last group refuses it.
        """
        return rf"^(?:{self.body})$(?!\n)"

    def accepts(self, value: object) -> bool:
        """Return whether a value is of this type."""
        if not isinstance(value, str) or len(value) > self.longest:
            return False
        return self._fullmatch(value) is not None and (self.rule is None or self.rule(value))

    def parse(self, value: object) -> str:
        """Return a value of this type.

        Raises:
            InvalidValueError: it is not one.
        """
        if not isinstance(value, str) or not self.accepts(value):
            raise InvalidValueError(value, self.allowed)
        return value


@dataclass(frozen=True, kw_only=True)
class IntegerType:
    """A type of whole number: its smallest and largest value."""

    smallest: int
    largest: int
    allowed: str
    """What is allowed, for messages and schemas."""

    def accepts(self, value: object) -> bool:
        """Return whether a value is of this type; true and false are not numbers."""
        return isinstance(value, int) and not isinstance(value, bool) and self.smallest <= value <= self.largest

    def parse(self, value: object) -> int:
        """Return a value of this type.

        Raises:
            InvalidValueError: it is not one.
        """
        if not isinstance(value, int) or not self.accepts(value):
            raise InvalidValueError(value, self.allowed)
        return value

    def parse_text(self, text: str) -> int:
        """Return the value of decimal digits; the same error. int() alone reads `1_0`, ` 1 ` and Arabic digits too."""
        if not (text.isascii() and text.isdigit()) or len(text) > LONGEST_NUMBER or (text[0] == "0" != text):
            raise InvalidValueError(text, self.allowed)
        return self.parse(int(text))


def check_fields(record: object, types: Mapping[str, TextType | IntegerType]) -> None:
    """Check the fields of a record, for its __post_init__.

    Raises:
        InvalidValueError: a field has a value of another type; the message begins with its name.
    """
    for field, kind in types.items():
        value = getattr(record, field)
        if not kind.accepts(value):
            raise InvalidValueError(value, kind.allowed, field)


def _is_day_of_calendar(moment: str) -> bool:
    try:
        date(int(moment[:4]), int(moment[4:6]), int(moment[6:8]))  # strptime costs an import of milliseconds
    except ValueError:
        return False
    return True


def _path_type(prefix: str, characters: str, allowed: str) -> TextType:
    part = rf"(?!\.\.?(?:/|$))(?:{characters})+"
    # PATH_MAX of Linux is 4096 with the terminating NUL.
    return TextType(body=rf"{prefix}{part}(?:/{part})*", allowed=allowed, longest=4095)


SHA256 = TextType(body="[0-9a-f]{64}", allowed="a sha256: 64 hexadecimal digits, in lower case")
DIGEST = TextType(body="sha256:[0-9a-f]{64}", allowed='a digest: "sha256:" and 64 hexadecimal digits, in lower case')
COMMIT = TextType(body="[0-9a-f]{40}", allowed="a git commit: 40 hexadecimal digits, in lower case")
# Python's (PEP 440: `!` and `+`), Debian's (deb-version(7): `:` and `~`) and RPM's (`^` and `_`) together.
VERSION = TextType(
    body="[0-9A-Za-z][0-9A-Za-z.+~:!_^-]*", allowed="a version: letters, digits and . + ~ : ! _ ^ -, no space"
)
# Debian Policy 5.6.7 has `+ . -`; RPM and Python have `_` and capital letters as well.
PACKAGE_NAME = TextType(
    body="[0-9A-Za-z][0-9A-Za-z.+_-]*",
    allowed="the name of a package: letters, digits and . + _ -, with a letter or digit first",
)
# The name of a lock in constraints/sizes.toml, and a package with its locked version.
LOCK_NAME = TextType(
    body="[0-9a-z](?:[0-9a-z._-]*[0-9a-z])?", allowed="the name of a lock, such as common-debian-amd64: a-z 0-9 . _ -"
)
LOCKED_PIN = TextType(body=f"{PACKAGE_NAME.body}=={VERSION.body}", allowed="NAME==VERSION", longest=2 * LONGEST)
# A row's name becomes a part of file names, tags and bake targets ([a-zA-Z0-9_-]), and a bare key of TOML.
ROW_NAME = TextType(
    body="[a-z0-9]+(?:[-_][a-z0-9]+)*",
    allowed="a name: lower-case letters and digits, with single hyphens or underscores between them",
    longest=64,
)
# A server decodes %2e, %2f and %5c to `.`, `/` and `\`.
ARCHIVE_PATH = _path_type(
    "(?!-)",
    r"[0-9A-Za-z.+~:_@^=,-]|%(?!2[eEfF]|5[cC]|[01])[0-9A-Fa-f]{2}",
    'a relative path without ".." or "." or an empty part: letters, digits and . + ~ : _ @ ^ = , - %',
)
ABSOLUTE_PATH = _path_type(
    "/",
    r"[0-9A-Za-z.+~:_@^=,-]",
    'an absolute path without ".." or "." or an empty part: letters, digits and . + ~ : _ @ ^ = , -',
)
# git-check-ref-format(1) allows more; these need no quotes anywhere, and git takes none for an option.
GIT_REF = TextType(
    body=r"(?!.*(?:\.\.|//|@\{))[0-9A-Za-z_][0-9A-Za-z._/+@-]*",
    allowed='a tag or branch: letters, digits and . _ / + @ -, with a letter, digit or _ first, without ".."',
)
# A login would be written into locks, labels and logs. Quotes, `$`, `;` and brackets are left out of RFC 3986's set.
HTTP_URL = TextType(
    body=r"https?://[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?(?::[0-9]{1,5})?(?:/[0-9A-Za-z._~:/?@!*+,=&%#-]*)?",
    allowed="https://HOST[:PORT]/PATH or http://HOST[:PORT]/PATH, without a login, spaces, quotes or $",
    longest=2048,
)
# The grammar of distribution/reference, with {machine} for the machine of a platform (x86_64).
IMAGE_REFERENCE = TextType(
    body=(
        r"(?:[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?(?::[0-9]{1,5})?/)?"
        r"(?:[0-9a-z]|\{machine\})(?:[0-9a-z._-]|\{machine\})*(?:/(?:[0-9a-z]|\{machine\})(?:[0-9a-z._-]|\{machine\})*)*"
        r":(?:[0-9A-Za-z_]|\{machine\})(?:[0-9A-Za-z._-]|\{machine\}){0,127}"
    ),
    allowed='"HOST[:PORT]/NAME:TAG", in which {machine} may stand for x86_64 or aarch64',
)
# Years before 1970 have no epoch (SOURCE_DATE_EPOCH). gzip stores times in 32 bits, which end in 2106, and strftime and
# snapshot services know four digits of a year: a time beyond this century is a mistake.
MOMENT = TextType(
    body="(?:19[7-9][0-9]|20[0-9]{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z",
    allowed="a time of the years 1970 to 2099, such as 20261124T180600Z",
    rule=_is_day_of_calendar,
)
EPOCH = IntegerType(
    smallest=0, largest=4102444799, allowed="seconds since 1970, from 0 to 4102444799 (the end of 2099)"
)
# The largest file here is a wheel of a few GB, and the largest image has 40 GB.
SIZE = IntegerType(smallest=0, largest=2**40, allowed="a number of bytes, from 0 to 1 TiB (1099511627776)")
