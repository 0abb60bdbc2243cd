"""Spelling of versions and values where only some characters are allowed: tags, file names, attributes, templates.

One function for each alphabet. Labels allow every character, so they have no function of their own; like every text of
a bake document, they are templates for bake.
"""

from __future__ import annotations

import re

from dynamo_containers.errors import LockError

VERSION = re.compile(r"([0-9]+!)?[0-9][0-9a-z.]*(\+[0-9a-z.]+)?")
"""The characters of a normalized version (https://packaging.python.org/en/latest/specifications/version-specifiers/)."""
TAG_LENGTH = 128
"""The longest tag in characters (https://pkg.go.dev/github.com/distribution/reference)."""


def tag_version(version: str) -> str:
    """Return a version as a part of a tag, where neither `+` nor `!` is allowed.

    `+` becomes `_`, as Helm writes it (https://helm.sh/docs/topics/registries/), and the `!` of an epoch `__`. A
    normalized version has no `_`, and one `+` and one `!` at most, so two versions never have the same tag.

    Raises:
        LockError: the version is not normalized, so its tag could be that of another one.
    """
    if not VERSION.fullmatch(version):
        message = (
            f"{version!r} is not a normalized version, and cannot be in the tag of an image.\n"
            "Locks have normalized versions. Write them again with: invoke lock --only python"
        )
        raise LockError(message)
    return version.replace("!", "__").replace("+", "_")


def file_name(text: str) -> str:
    """Return a text as a file name: lower-case letters, digits and dashes.

    Several texts can have the same name, so the file must not be trusted to be that of one text.
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def attributes(**values: str) -> str:
    """Return an attribute string of buildx, such as `type=local,dest=/srv`; a value may contain commas and quotes.

    buildx reads the string as a line of CSV (https://docs.docker.com/build/exporters/).
    """
    return ",".join(_quoted(f"{name}={value}") for name, value in values.items())


def _quoted(field: str) -> str:
    needs_quotes = any(character in field for character in ',"\r\n') or field != field.strip()
    return '"' + field.replace('"', '""') + '"' if needs_quotes else field


def attribute(text: str, name: str) -> str:
    """Return one value of an attribute string ('' if it is absent)."""
    if '"' in text:
        import csv  # only unusual paths have quotes, and a no-op must be fast

        fields = next(csv.reader([text]))
    else:
        fields = text.split(",")
    return next((field.partition("=")[2] for field in fields if field.partition("=")[0] == name), "")


def template(text: str) -> str:
    """Return a text as a template that bake expands to the text itself.

    bake expands `${...}` and `%{...}` in every string of a document, JSON included
    (https://github.com/hashicorp/hcl/blob/main/json/spec.md#strings).
    """
    return text.replace("${", "$${").replace("%{", "%%{") if "{" in text else text
