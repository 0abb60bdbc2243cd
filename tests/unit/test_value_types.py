"""Checked types of the values in data files."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from dynamo_containers import value_types
from dynamo_containers.value_types import IntegerType, InvalidValueError, TextType

TYPES = {name: kind for name, kind in vars(value_types).items() if isinstance(kind, TextType)}
A = "a" * 64


@dataclass(frozen=True)
class Examples:
    valid: tuple[str, ...]
    invalid: tuple[str, ...]


LONG = int("f" * 4000, 16)
"""Python refuses to print it; pytest too, as the name of a test."""
HOSTILE = ("", " ", "\n", "a b", "a\n", "\na", "a\0", "$(id)", "`id`", "a;b", "a'b", 'a"b', "a\\b", "--x", "-x", "../x")
EXAMPLES = {
    "SHA256": Examples((A, "0" * 64), (A[1:], f"{A}a", A.upper(), f"sha256:{A}", "../../../evil.deb")),
    "DIGEST": Examples((f"sha256:{A}",), (A, "sha256:", f"sha512:{A}", f"sha256:{A}/..", f"sha256:{A.upper()}")),
    "COMMIT": Examples(("c" * 40,), ("main", "c" * 39, "c" * 41, "C" * 40)),
    "VERSION": Examples(
        ("3.5.21", "1:2.39.5-0+deb12u3", "4.8+really4.7.5-1", "1!2.0+cu130", "12.2.0-14.el8_10", "2~rc1^git", "v1"),
        ("1/2", "1..2/", "\u0661.2", "1%2e", "1=2", "x" * 256),
    ),
    "PACKAGE_NAME": Examples(("g++", "libstdc++6", "binutils-x86-64-linux-gnu", "python3.11", "Foo_bar"), ("a/b", "é")),
    "LOCK_NAME": Examples(("common-debian-amd64", "os-debian", "tools"), ("A", "a/b", "..", ".a", "a.")),
    "LOCKED_PIN": Examples(("ai-dynamo==1.4.2", "torch==2.11.0+cu130"), ("a", "a=1", "a==", "==1", "a==1 ", "a==../x")),
    "ROW_NAME": Examples(("nats-server", "vllm", "a_b", "13"), ("A", "a.b", "a--b", "a-", "a/b", "x" * 65)),
    "ARCHIVE_PATH": Examples(
        ("pool/main/g/gcc-12/g++_12.2.0-14+deb12u1_amd64.deb", "usr/bin/nats-server", "a/.b", "a/...", "e_1%3a2.deb"),
        ("/etc/passwd", "a/../b", "a/..", "..", ".", "./a", "a//b", "a/", "%2e%2e/a", "a%2Fb", "a%5cb", "a%00", "a%"),
    ),
    "ABSOLUTE_PATH": Examples(("/usr/bin/etcd", "/a/.b"), ("a", "/", "//a", "/a/../b", "/..", "/a/", "/../../x")),
    "GIT_REF": Examples(("v1.4.2", "main", "release/1.4", "_x"), ("a..b", "a//b", "--upload-pack=x", "a:b", "a@{1}")),
    "HTTP_URL": Examples(
        ("https://github.com/a/b/v1+2/c.tar.gz", "http://127.0.0.1:8080/x", "https://h", "https://h/?a=b&c=%20"),
        ("ftp://h/a", "file:///etc/passwd", "https://user:secret@h/", "https://h/$(id)", "https:///a", "https://h:x/"),
    ),
    "IMAGE_REFERENCE": Examples(
        (
            "quay.io/pypa/manylinux_2_28_{machine}:2026.08.15-1",
            "nvcr.io/nvidia/cuda:13.0.2-devel-ubuntu24.04",
            "127.0.0.1:5000/x:1",
            "debian:12",
        ),
        ("debian", "Debian:12", f"debian@sha256:{A}", "h/../x:1", "h/x:{arch}", f"h/x:{'1' * 129}"),
    ),
    "MOMENT": Examples(
        ("20261124T180600Z", "19700101T000000Z", "20991231T235959Z", "20240229T000000Z"),
        ("99990101T000000Z", "19691231T235959Z", "20260230T000000Z", "20261124T240000Z", "2026-11-24T18:06:00Z"),
    ),
}


def test_every_type_has_examples() -> None:
    assert EXAMPLES.keys() == TYPES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_type_accepts_what_data_files_have_and_refuses_the_rest(name: str) -> None:
    kind, examples = TYPES[name], EXAMPLES[name]
    assert [value for value in examples.valid if not kind.accepts(value)] == []
    hostile = (*HOSTILE, *examples.invalid, *(f"{value}\n" for value in examples.valid))
    assert [value for value in hostile if kind.accepts(value)] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_pattern_for_schemas_says_the_same_by_search(name: str) -> None:
    kind, examples = TYPES[name], EXAMPLES[name]
    values = (*HOSTILE, *examples.valid, *examples.invalid, *(f"{value}\n" for value in examples.valid))
    short = [value for value in values if len(value) <= kind.longest and (kind.rule is None or kind.rule(value))]
    assert [value for value in short if bool(re.search(kind.pattern, value)) != kind.accepts(value)] == []


@pytest.mark.parametrize("value", [None, 1, 1.5, True, ["a"], {"a": 1}, b"a"])
def test_a_text_type_refuses_other_types(value: object) -> None:
    with pytest.raises(InvalidValueError):
        value_types.VERSION.parse(value)


def test_a_parsed_value_is_the_value() -> None:
    assert (value_types.VERSION.parse("1.0"), value_types.SIZE.parse(0)) == ("1.0", 0)


@pytest.mark.parametrize("value", [-1, 2**40 + 1, 10**30, True, "1", 1.0, None, float("nan")])
def test_a_size_is_a_number_of_bytes_that_exists(value: object) -> None:
    with pytest.raises(InvalidValueError):
        value_types.SIZE.parse(value)


@pytest.mark.parametrize("value", [-1, 4102444800, 10**30, LONG], ids=["negative", "2100", "large", "long"])
def test_an_epoch_is_in_this_century(value: int) -> None:
    with pytest.raises(InvalidValueError, match="seconds since 1970"):
        value_types.EPOCH.parse(value)


@pytest.mark.parametrize("text", ["", " 1", "1_0", "\u0663", "\u00b2", "+1", "01", "1e3", "9" * 30, "9" * 5000])
def test_a_number_in_a_line_has_plain_decimal_digits(text: str) -> None:
    with pytest.raises(InvalidValueError):
        IntegerType(smallest=0, largest=100, allowed="0 to 100").parse_text(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("../x", "'../x'"),
        ("a\n\x1b", "'a\\n\\x1b'"),
        ("x" * 1000, f"'{'x' * 55}...'"),
        (LONG, "a number of more than 60 digits"),
        (None, "None"),
    ],
    ids=["path", "control", "text", "number", "nothing"],
)
def test_a_message_shows_a_wrong_value_on_one_short_line(value: object, text: str) -> None:
    assert value_types.shown(value) == text
    assert str(InvalidValueError(value, "this")) == f"found {text}, allowed is this"
