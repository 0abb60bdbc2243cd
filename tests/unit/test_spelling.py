"""Spelling of versions and values in tags, file names, attribute strings and bake documents."""

from __future__ import annotations

import csv
import re

import pytest

from dynamo_containers import spelling
from dynamo_containers.errors import LockError

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""https://pkg.go.dev/github.com/distribution/reference: the grammar of a tag."""


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        pytest.param("1.4.2", "1.4.2", id="a release"),
        pytest.param("1.4.3.dev20261101+cu130", "1.4.3.dev20261101_cu130", id="a local version"),
        pytest.param("1!2.0rc1+cu13.torch2.11", "1__2.0rc1_cu13.torch2.11", id="an epoch and a local version"),
    ],
)
def test_a_version_is_spelt_for_tags(version: str, tag: str) -> None:
    assert spelling.tag_version(version) == tag
    assert TAG.fullmatch(tag)


def test_two_versions_never_have_the_same_tag() -> None:
    versions = [f"{epoch}1.4{local}" for epoch in ("", "1!", "11!") for local in ("", ".1", "+1", "+cu.13", "+cu13")]
    assert len({spelling.tag_version(version) for version in versions}) == len(versions)


@pytest.mark.parametrize("version", ["", "1.4_2", "1.4.2-1", "1.0 ", "1.0\n", "v1/2", "$(id)", "1.0+a+b", "1!2!3"])
def test_a_version_that_pypi_would_write_differently_has_no_tag(version: str) -> None:
    with pytest.raises(LockError, match="invoke lock"):
        spelling.tag_version(version)


@pytest.mark.parametrize(
    ("text", "name"),
    [("host:5000/team/cache", "host-5000-team-cache"), ("/srv/../x", "srv-x"), ("..", "unnamed"), ("A b\n", "a-b")],
)
def test_a_file_name_has_no_separator_and_no_dots(text: str, name: str) -> None:
    assert spelling.file_name(text) == name


@pytest.mark.parametrize("path", ["/srv/cache", "/srv/a,dest=/etc", '/srv/a "b"', "/srv/a=b", " /srv"])
def test_an_attribute_keeps_its_value_whatever_is_in_it(path: str) -> None:
    text = spelling.attributes(type="local", dest=path)
    assert next(csv.reader([text])) == ["type=local", f"dest={path}"]
    assert spelling.attribute(text, "dest") == path


def test_an_ordinary_attribute_string_has_no_quotes() -> None:
    assert spelling.attributes(type="local", dest="/srv/cache") == "type=local,dest=/srv/cache"
