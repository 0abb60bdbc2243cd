"""Whether the answer of an index about a package is usable.

pip skips a page that it could not get or read, and then says that the package has no release: a broken index would look
like a missing package. Here only "404, no such page" means that; anything else that is no whole page is an error that
names the page. Imported only by the process that runs pip-compile.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from pip._internal.exceptions import NetworkConnectionError, PipError
from pip._internal.index import collector
from pip._internal.utils.misc import redact_auth_from_url
from pip._vendor.requests.exceptions import RequestException, RetryError

from dynamo_containers.errors import DownloadError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pip._internal.index.collector import IndexContent
    from pip._internal.models.link import Link
    from pip._internal.network.session import PipSession

NO_SUCH_PAGE = (404, 410)
GATEWAY_SAYS_NO = (403, 407, 502, 503, 504)
ATTEMPTS = 3
"""For a page that is no page. Where the index does not answer, pip itself tries as often as its `retries` says."""


def fetch(
    session: PipSession, own: Mapping[str, str], location: Link, package_name: str | None = None
) -> IndexContent | None:
    """Return a package's page, None when the index has no such package; stands in for LinkCollector.fetch_response.

    Args:
        session: pip's.
        own: package -> address, of those that have an index of their own.
        location: where the page is.
        package_name: whose page it is.

    Raises:
        DownloadError: the index did not answer, or not with a whole page.
        UnreachableError: an index that only some packages are on did not answer.
    """
    if location.is_file:
        return collector._get_index_content(location, session=session)  # noqa: SLF001 - as pip does
    fault = ""
    for attempt in range(ATTEMPTS):
        time.sleep(attempt / 4)
        try:
            page = _get(session, location, anew=attempt > 0)
        except (PipError, RequestException, collector._NotAPIContent) as error:  # noqa: SLF001 - pip catches it too
            if _says_no_such_page(error):
                return None
            fault = f"{type(error).__name__}: {error}"
            if location.url.startswith(tuple(own.values())) and _is_out_of_reach(error):
                message = f"{redact_auth_from_url(location.url)} cannot be reached from here ({type(error).__name__})."
                raise UnreachableError(message) from None
            if isinstance(error, (PipError, RetryError)):
                break
        else:
            fault = what_is_wrong(page.content, page.content_type)
            if not fault:
                return page
    name = redact_auth_from_url(location.url)
    message = f"The index gave no usable page for {package_name or 'a package'}: {name}\n{fault}"
    raise DownloadError(message)


def remembering(
    fetch: Callable[..., IndexContent | None], pages: dict[str, IndexContent | None]
) -> Callable[..., IndexContent | None]:
    """Return a `fetch` that asks for no page that is among `pages`, and adds those that it asks for."""

    def remembered(location: Link, package_name: str | None = None) -> IndexContent | None:
        if location.url not in pages:
            pages[location.url] = fetch(location, package_name)
        return pages[location.url]

    return remembered


def _is_out_of_reach(error: Exception) -> bool:
    """Say whether nobody answered, or only a gateway on the way."""
    if isinstance(error, NetworkConnectionError):  # pip's name for an answer that is an error
        return error.response is not None and error.response.status_code in GATEWAY_SAYS_NO
    return isinstance(error, (PipError, RetryError))


def _says_no_such_page(error: Exception) -> bool:
    response = error.response if isinstance(error, NetworkConnectionError) else None
    return response is not None and response.status_code in NO_SUCH_PAGE


def _get(session: PipSession, location: Link, *, anew: bool) -> IndexContent:
    url = location.url.split("#", 1)[0]
    response = collector._get_simple_response(url, session=session, force_revalidate=anew)  # noqa: SLF001
    return collector._make_index_content(response, location.cache_link_parsing)  # noqa: SLF001


def what_is_wrong(content: bytes, content_type: str) -> str:
    """Say why this is no whole page of an index (PEP 503, PEP 691); empty when it is one."""
    if "json" not in content_type.lower():
        return _wrong_html(content.decode("utf-8", errors="replace").lower())
    try:
        page = json.loads(content)
    except ValueError as error:
        return f"It is not valid JSON: {error}."
    if not isinstance(page, dict) or not isinstance(page.get("files"), list):
        return "It has no list of files (PEP 691)."
    return ""


def _wrong_html(text: str) -> str:
    if "</html>" not in text:
        return "It is HTML without an end: half a page."
    if "pypi:repository-version" in text or any(ending in text for ending in (".whl", ".tar.gz", ".zip")):
        return ""
    return "It is HTML without a link to any release: the page of a proxy or a login?"
