"""Downloads, verified by sha256, into a store of files named by their sha256.

A name is not believed: a file is hashed each time it is taken from the store (docs/adr/0034). A file with another
content is removed and downloaded again.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from dynamo_containers import integrity, progress, signals
from dynamo_containers.errors import DownloadError
from dynamo_containers.facts import mirrors
from dynamo_containers.process import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CONNECTIONS = 8
CHUNK = 1 << 20
TIMEOUT_SECONDS = 60
ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file, identified by its sha256, and the URL to download it from."""

    url: str
    sha256: str
    size: int = 0

    @property
    def name(self) -> str:
        """Return the last part of its URL, which is its name in progress lines."""
        return self.url.rsplit("/", 1)[-1]


class GoneError(DownloadError):
    """The server answers that it does not have the file, or no longer has it."""


def store_path(store: Path, download: Download) -> Path:
    """Return the path that a file has in the store after its download."""
    return store / "sha256" / download.sha256


def is_stored(store: Path, download: Download) -> bool:
    """Return whether the store has a file, which is hashed for this; a file with another content is removed."""
    return integrity.keep_intact(store_path(store, download), download.sha256)


def fetch_all(store: Path, downloads: Iterable[Download]) -> tuple[Download, ...]:
    """Download the files that are not in the store, in parallel; return those that their server no longer has.

    Raises:
        DownloadError: a server is unreachable, or a file has another content than the pinned one.
    """
    missing = [download for download in downloads if not is_stored(store, download)]
    if not missing:
        return ()
    name = missing[0].name if len(missing) == 1 else f"{len(missing)} files"
    total = sum(download.size for download in missing)
    fetching = progress.task(f"fetching {name}", total=total, summary=f"Fetched {name}")
    with fetching as task, ThreadPoolExecutor(CONNECTIONS) as pool:
        results = pool.map(lambda download: _fetch_if_there(store, download, task), missing)
        gone = tuple(download for download in results if download)
        if len(gone) == len(missing):
            task.summary = ""
        return gone


def _fetch_if_there(store: Path, download: Download, task: progress.Task) -> Download | None:
    try:
        _fetch(store_path(store, download), download, task)
    except GoneError:
        return download
    return None


def fetch(store: Path, download: Download) -> Path:
    """Download a file into the store, unless the store has it, and return its path.

    Raises:
        GoneError: the server does not have the file.
        DownloadError: the server is unreachable, or the content differs; the store is unchanged.
    """
    path = store_path(store, download)
    if not is_stored(store, download):
        name = download.name
        with progress.task(f"fetching {name}", total=download.size, summary=f"Fetched {name}") as task:
            _fetch(path, download, task)
    return path


def _fetch(path: Path, download: Download, task: progress.Task) -> None:
    if path.exists():  # another thread was faster
        task.total -= download.size
        return
    for attempt in range(1, ATTEMPTS + 1):
        signals.check()
        try:
            _download(download, path, task)
        except HTTPError as error:
            error.close()
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                message = f"{_describe(download.url)}: the server no longer has this file."
                raise GoneError(message) from None
            _give_up_after(attempt, download, error)
        except (URLError, OSError, HTTPException) as error:
            if isinstance(error, URLError) and isinstance(error.reason, FileNotFoundError):  # a file: address
                message = f"{download.url}: this file does not exist."
                raise GoneError(message) from None
            _give_up_after(attempt, download, error)
        else:
            return


def _describe(url: str) -> str:
    """Return a URL as messages have it: with the mirror that was used, if any."""
    return mirrors.describe(url, mirrors.configured().address(url))


def _give_up_after(attempt: int, download: Download, error: OSError | HTTPException) -> None:
    if attempt == ATTEMPTS:
        message = (
            f"{_describe(download.url)} could not be downloaded: {error}.\n"
            "Check that the address is reachable from this machine (proxy, certificate), and run again. "
            "In a closed network, configure a mirror: docs/how-to/mirrors.md"
        )
        raise DownloadError(message) from None


def fetch_unpinned(store: Path, url: str, *, seconds: float) -> Download:
    """Download a file that has no pin yet into the store, and return its sha256 and size.

    Raises:
        GoneError: the server does not have the file.
        DownloadError: the server is unreachable, or sent nothing for `seconds`.
    """
    path = store / "new" / hashlib.sha256(url.encode()).hexdigest()
    try:
        download = _receive(url, path, seconds)
    except HTTPError as error:
        error.close()
        if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            message = f"{_describe(url)}: the server does not have this file."
            raise GoneError(message) from None
        raise DownloadError(str(error)) from None
    except (URLError, OSError, HTTPException) as error:
        raise DownloadError(str(getattr(error, "reason", error))) from None
    store_path(store, download).parent.mkdir(parents=True, exist_ok=True)
    path.replace(store_path(store, download))
    return download


def _receive(url: str, path: Path, seconds: float) -> Download:
    name = url.rsplit("/", 1)[-1]
    with urlopen(mirrors.configured().address(url), timeout=seconds) as response, replace_file(path) as file:
        total = int(response.headers.get("Content-Length", 0))
        with progress.task(f"fetching {name}", total=total, summary=f"Fetched {name}") as task:
            return _copy(response, file, url, task)


def _copy(response: Any, file: IO[bytes], url: str, task: progress.Task) -> Download:  # noqa: ANN401 - what urlopen returns, typed as Any
    """Copy a response to a file, and return its sha256 and size."""
    digest, size = hashlib.sha256(), 0
    while chunk := response.read(CHUNK):
        signals.check()  # a command that is being ended waits for its threads
        digest.update(chunk)
        size += len(chunk)
        task.advance(len(chunk))
        file.write(chunk)
    promised = int(response.headers.get("Content-Length", size))
    if size < promised:  # read() with a size says nothing when the connection ends early
        task.advance(-size)
        message = f"the connection ended after {size} of {promised} bytes"
        raise ConnectionError(message)
    return Download(url=url, sha256=digest.hexdigest(), size=size)


def _download(download: Download, path: Path, task: progress.Task) -> None:
    address = mirrors.configured().address(download.url)
    with urlopen(address, timeout=TIMEOUT_SECONDS) as response, replace_file(path) as file:
        received = _copy(response, file, download.url, task)
        if received.sha256 != download.sha256:
            message = (
                f"{_describe(download.url)} is not the pinned file and was discarded.\n"
                f"  pinned   sha256:{download.sha256}\n"
                f"  received sha256:{received.sha256}\n"
                "Either the file on the server changed, or a proxy rewrites downloads. "
                "If the new file is right, pin it with: invoke lock"
            )
            raise DownloadError(message)
