from __future__ import annotations

from itertools import pairwise

import pytest

from dynamo_containers.inspect.inventory import versions


@pytest.mark.parametrize(
    ("kind", "ordered"),
    [
        ("pypi", ["1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.post1", "1.10"]),
        ("cargo", ["0.9.9", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.1", "1.0.0", "1.0.10"]),
        ("golang", ["v0.0.0-20200101000000-abcdef", "1.2.3", "v1.2.10"]),
        ("deb", ["1.0~rc1-1", "1.0-1", "1.0-1+b2", "1.0-1+deb12u1", "1.0.1-1", "1:0.5-1"]),
        ("deb", ["2.36-9+deb12u9", "2.36-9+deb12u14"]),
    ],
)
def test_versions_are_in_the_order_of_their_type(kind: str, ordered: list[str]) -> None:
    keys = [versions.key(kind, text) for text in ordered]
    assert all(before < after for before, after in pairwise(keys))
    assert all(versions.key(kind, text) == versions.key(kind, text) for text in ordered)


def test_a_build_of_a_release_is_that_release() -> None:
    assert versions.key("pypi", "2.11.0+cu130") == versions.key("pypi", "2.11.0")
    assert versions.key("cargo", "1.0.0+build") == versions.key("cargo", "1.0.0")


@pytest.mark.parametrize(("kind", "text"), [("pypi", "one"), ("cargo", "1.x"), ("deb", "a b"), ("npm", "1.0")])
def test_what_cannot_be_compared_is_an_error_and_no_answer(kind: str, text: str) -> None:
    with pytest.raises(versions.UnknownVersionError):
        versions.key(kind, text)
