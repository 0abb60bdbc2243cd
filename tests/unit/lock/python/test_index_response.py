"""When an index's answer about a package is believed."""

from __future__ import annotations

import pytest

from dynamo_containers.lock.python.index_response import page_fault

JSON = "application/vnd.pypi.simple.v1+json"
FILE = '<a href="/alpha-1.0-py3-none-any.whl">'


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param('{"files": []}', JSON, id="JSON of a package without files"),
        pytest.param(f"<html><body>{FILE}alpha</a></body></html>", "text/html; charset=utf-8", id="HTML with a file"),
        pytest.param('<html><meta name="pypi:repository-version"></html>', "text/html", id="HTML that says what it is"),
    ],
)
def test_a_whole_page_is_believed(content: str, kind: str) -> None:
    assert not page_fault(content.encode(), kind)


@pytest.mark.parametrize(
    ("content", "kind", "complaint"),
    [
        pytest.param('{"files": [', JSON, "It is not valid JSON: ", id="half of JSON"),
        pytest.param("\xff\xfe", JSON, "It is not valid JSON: ", id="bytes"),
        pytest.param("", JSON, "It is not valid JSON: ", id="nothing"),
        pytest.param("[]", JSON, "It has no list of files", id="other JSON"),
        pytest.param('{"files": {}}', JSON, "It has no list of files", id="other JSON for files"),
        pytest.param(f"<html>{FILE}", "text/html", "It is HTML without an end", id="half of HTML"),
        pytest.param("", "text/html", "It is HTML without an end", id="empty HTML"),
        pytest.param("<html><a href='/login'></html>", "text/html", "It is HTML without a link to", id="a login page"),
    ],
)
def test_what_is_no_whole_page_is_not(content: str, kind: str, complaint: str) -> None:
    assert page_fault(content.encode("latin-1"), kind).startswith(complaint)
