"""Check of the pages that an index returns for a package.

pip skips a page that it cannot download or parse, and then reports that the package has no release: a broken index
looks like a missing package. Here only "404, no such page" means that; every other page that is not complete is an
error that names the page. Only the child process that runs pip-compile imports this module.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pip._internal.exceptions import NetworkConnectionError, PipError
from pip._internal.index import collector
from pip._internal.utils.misc import redact_auth_from_url
from pip._vendor.requests.exceptions import RequestException, RetryError

from dynamo_containers import file_reader
from dynamo_containers.errors import DownloadError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pip._internal.index.collector import IndexContent
    from pip._internal.models.link import Link
    from pip._internal.network.session import PipSession

NO_SUCH_PAGE = (404, 410)
REFUSED_BY_GATEWAY = (403, 407, 502, 503, 504)
ATTEMPTS = 3
"""Attempts for an incomplete page. Where the index does not answer, pip itself retries (its setting `retries`)."""


def fetch(
    session: PipSession, indexes: Mapping[str, str], location: Link, package_name: str | None = None
) -> IndexContent | None:
    """Return a package's page, None when the index has no such package; replaces LinkCollector.fetch_response.

    Args:
        session: pip's session.
        indexes: package -> address, for packages that have their own index.
        location: the address of the page.
        package_name: the package.

    Raises:
        DownloadError: the index did not answer, or its page is incomplete.
        UnreachableError: the own index of some packages did not answer.
    """
    if location.is_file:
        return collector._get_index_content(location, session=session)  # noqa: SLF001 - as pip does
    fault = ""
    for attempt in range(ATTEMPTS):
        time.sleep(attempt / 4)
        try:
            page = _get(session, location, revalidate=attempt > 0)
        except (PipError, RequestException, collector._NotAPIContent) as error:  # noqa: SLF001 - pip catches it too
            if _is_missing_page(error):
                return None
            fault = f"{type(error).__name__}: {error}"
            if location.url.startswith(tuple(indexes.values())) and _is_unreachable(error):
                message = f"{redact_auth_from_url(location.url)} cannot be reached from here ({type(error).__name__})."
                raise UnreachableError(message) from None
            if isinstance(error, (PipError, RetryError)):
                break
        else:
            fault = page_fault(page.content, page.content_type)
            if not fault:
                return page
    name = redact_auth_from_url(location.url)
    message = f"The index returned an unusable page for {package_name or 'a package'}: {name}\n{fault}"
    raise DownloadError(message)


def cached(
    fetch: Callable[..., IndexContent | None], pages: dict[str, IndexContent | None]
) -> Callable[..., IndexContent | None]:
    """Return a `fetch` that caches its pages in `pages`."""

    def fetch_once(location: Link, package_name: str | None = None) -> IndexContent | None:
        if location.url not in pages:
            pages[location.url] = fetch(location, package_name)
        return pages[location.url]

    return fetch_once


def _is_unreachable(error: Exception) -> bool:
    """Return whether the index did not answer, or only a gateway did."""
    if isinstance(error, NetworkConnectionError):  # pip's name for an answer that is an error
        return error.response is not None and error.response.status_code in REFUSED_BY_GATEWAY
    return isinstance(error, (PipError, RetryError))


def _is_missing_page(error: Exception) -> bool:
    response = error.response if isinstance(error, NetworkConnectionError) else None
    return response is not None and response.status_code in NO_SUCH_PAGE


def _get(session: PipSession, location: Link, *, revalidate: bool) -> IndexContent:
    url = location.url.split("#", 1)[0]
    response = collector._get_simple_response(url, session=session, force_revalidate=revalidate)  # noqa: SLF001
    return collector._make_index_content(response, location.cache_link_parsing)  # noqa: SLF001


def page_fault(content: bytes, content_type: str) -> str:
    """Return why this is not a complete page of an index (PEP 503, PEP 691); empty when it is one."""
    if "json" not in content_type.lower():
        return _html_fault(content.decode("utf-8", errors="replace").lower())
    try:
        page = file_reader.parse_json(content)
    except ValueError as error:
        return f"It is not valid JSON: {error}."
    if not isinstance(page, dict) or not isinstance(page.get("files"), list):
        return "It has no list of files (PEP 691)."
    return ""


def _html_fault(text: str) -> str:
    if "</html>" not in text:
        return "It is HTML without an end: an incomplete page."
    if "pypi:repository-version" in text or any(ending in text for ending in (".whl", ".tar.gz", ".zip")):
        return ""
    return "It is HTML without a link to any release: the page of a proxy or a login?"
