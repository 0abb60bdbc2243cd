"""A file on a server, read by ranges: of a wheel of a GB, its table of contents and metadata are 200 kB.

pip's own `lazy_wheel` needs HEAD and the header Accept-Ranges, which some indexes do not answer.
"""

from __future__ import annotations

import io
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from pip._internal.exceptions import PipError
from pip._internal.network.utils import raise_for_status
from pip._vendor.requests.exceptions import RequestException

from dynamo_containers.errors import DownloadError

if TYPE_CHECKING:
    from pip._internal.network.session import PipSession
    from pip._vendor.requests import Response

TAIL_BYTES = 128 << 10
"""Bytes of the first request, at the end: a zip archive has its table of contents there, and *.dist-info before it."""
STEP_BYTES = 32 << 10
"""Fewest bytes of a later request."""
MOST_WHOLE = 100 << 20
"""Bytes of the largest file that is downloaded as a whole, from a server without ranges."""
PARTIAL, UNSATISFIABLE = 206, 416
HEADERS = {"Accept-Encoding": "identity", "Cache-Control": "no-cache"}
"""An encoding would shift the ranges, and pip's cache must not keep a part as the file."""


class NoRangesError(DownloadError):
    """A server sends no part of a file, and the file is too large to be read as a whole."""


class RemoteFile(io.RawIOBase):
    """A file that is read over HTTP by ranges; each byte is received once, and memory holds only what was asked for."""

    def __init__(self, session: PipSession, url: str) -> None:
        """Ask for the end of the file.

        Raises:
            DownloadError: the server does not answer, or does not serve ranges of a large file.
        """
        super().__init__()
        self._session, self._url, self._position = session, url, 0
        self._parts: list[tuple[int, bytes]] = []
        response = self._get(f"bytes=-{TAIL_BYTES}")
        if response.status_code == UNSATISFIABLE:  # an empty file has no range
            raise _fault(url, "is empty")
        if response.status_code != PARTIAL:
            self.size = self._keep_whole(response)
            return
        start, self.size = _content_range(response)
        if start < 0:
            raise _fault(url, "is sent in parts without Content-Range")
        self._parts.append((start, response.content))

    def _keep_whole(self, response: Response) -> int:
        content = bytearray()
        for block in response.iter_content(1 << 20):
            content += block
            if len(content) > MOST_WHOLE:
                response.close()
                message = f"{self._url} cannot be read in parts: its server does not support ranges (RFC 9110)."
                raise NoRangesError(message)
        self._parts.append((0, bytes(content)))
        return len(content)

    def _get(self, byte_range: str) -> Response:
        try:
            response: Response = self._session.get(self._url, headers={**HEADERS, "Range": byte_range}, stream=True)
            if response.status_code != UNSATISFIABLE:
                raise_for_status(response)
        except (PipError, RequestException) as error:
            raise _fault(self._url, f"could not be read: {type(error).__name__}: {error}") from None
        return response

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes; request those that were not received yet.

        Raises:
            DownloadError: the server does not answer, or sends another part.
        """
        end = self.size if size is None or size < 0 else min(self._position + size, self.size)
        start, self._position = self._position, max(end, self._position)
        return self._bytes(start, end) if end > start else b""

    def _bytes(self, start: int, end: int) -> bytes:
        for at, content in self._parts:
            if at <= start and end <= at + len(content):
                return content[start - at : end - at]
        stop = min(max(end, start + STEP_BYTES), self.size)
        response = self._get(f"bytes={start}-{stop - 1}")
        content = response.content
        if response.status_code != PARTIAL or _content_range(response)[0] != start or len(content) != stop - start:
            raise _fault(self._url, "was sent in other parts than were asked for")
        self._parts.append((start, content))
        return content[: end - start]


def _fault(url: str, reason: str) -> DownloadError:
    return DownloadError(f"{url} {reason}.")


def _content_range(response: Response) -> tuple[int, int]:
    """Return the first byte of a part and the size of the file; -1 where the server does not state them."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first, _, size = rest.partition("-")[0], "", rest.rpartition("/")[2]
    return (int(first), int(size)) if unit == "bytes" and first.isdigit() and size.isdigit() else (-1, 0)


def whole(session: PipSession, url: str) -> IO[bytes]:
    """Return a temporary file with all bytes of a file that has no table of contents, such as a .tar.gz.

    Raises:
        DownloadError: the server does not answer, or the file is larger than MOST_WHOLE.
    """
    file = TemporaryFile()  # noqa: SIM115 - the caller closes it
    remote = RemoteFile(session, url)
    if remote.size > MOST_WHOLE:
        message = f"{url} has {remote.size} bytes and no table of contents; it is not read."
        raise DownloadError(message)
    file.write(remote.read())
    file.seek(0)
    return file
