"""Content of a wheel or source archive as the inventory needs it: licence, bundled libraries, components."""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import IO, TYPE_CHECKING

from packageurl import PackageURL

from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks.contents import ListedComponent
from dynamo_containers.facts.locks.wheel_contents import library_name, library_version
from dynamo_containers.prepare.contents import licenses, wheel
from dynamo_containers.prepare.contents.sbom import read_sbom
from dynamo_containers.prepare.contents.wheel import MOST_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SBOM_SUFFIX = ".json"
"""SBOMs of other formats (XML, tag-value) are not read; none of the locked wheels has one."""


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """Content of a wheel or source archive."""

    license: str
    license_text: str
    components: tuple[ListedComponent, ...] = ()
    """The components of its SBOMs, and the shared libraries that it brings: `pkg:generic/libgomp@1.0.0`, with the
    version in the name of the file."""
    unpacked: int = 0
    """Bytes of all files of a wheel."""
    native: int = 0
    """The number of binaries and libraries in a wheel."""
    startup: tuple[str, ...] = ()
    """The `.pth` files of a wheel that each start of Python reads."""
    scripts: tuple[str, ...] = ()
    """The commands that a wheel installs."""
    unread: tuple[str, ...] = ()
    """SBOMs of another format."""


def read_wheel(file: IO[bytes], filename: str) -> PackageFile:
    """Return the content of a wheel, of which only the table of contents and the metadata are read.

    Raises:
        WheelError: it is not a wheel, its RECORD lies, or it is an archive bomb.
        SbomError: an SBOM is not what it says.
    """
    content = wheel.read_wheel(file, filename, complete=False)
    with wheel.open_archive(file, filename) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        license_name, license_text = _license(archive.read(metadata))
        rows: set[ListedComponent] = set()
        for path in content.sboms:
            size = archive.getinfo(path).file_size
            if size > MOST_METADATA:
                message = f"{filename} has an SBOM of {size} bytes ({path}), more than {MOST_METADATA}."
                raise LockError(message)
            if path.endswith(SBOM_SUFFIX):
                rows |= set(read_sbom(archive.read(path), f"{filename}: {path}"))
    return PackageFile(
        license=license_name,
        license_text=license_text,
        components=tuple(sorted(rows | set(libraries(content.libraries)))),
        unpacked=content.unpacked,
        native=len(content.native),
        startup=content.startup,
        scripts=content.scripts,
        unread=tuple(path for path in content.sboms if not path.endswith(SBOM_SUFFIX)),
    )


def libraries(paths: Iterable[str]) -> Iterator[ListedComponent]:
    """Yield shared libraries as components; `libx.so` and `libx.so.1` beside `libx.so.1.2` are the same library."""
    versions: dict[str, str] = {}
    for path in paths:
        name, version = library_name(path), library_version(path)
        versions[name] = max(versions.get(name, ""), version, key=len)
    for name, version in versions.items():
        yield ListedComponent(purl=PackageURL("generic", None, name, version or None).to_string())


def read_source_archive(file: IO[bytes], filename: str) -> PackageFile:
    """Return the licence of a source archive (.tar.gz), from its PKG-INFO; it is read as a stream.

    Raises:
        LockError: it is not an archive, or has no PKG-INFO.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                is_top = member.isfile() and member.name.count("/") == 1 and member.name.endswith("/PKG-INFO")
                if is_top and member.size <= MOST_METADATA and (stream := archive.extractfile(member)):
                    name, text = _license(stream.read())
                    return PackageFile(license=name, license_text=text)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        message = f"{filename} is not a source archive: {error}."
        raise LockError(message) from None
    message = f"{filename} has no PKG-INFO."
    raise LockError(message)


def _license(metadata: bytes) -> tuple[str, str]:
    about = HeaderParser().parsestr(metadata.decode("utf-8", "replace"))
    return licenses.from_metadata(
        str(about.get("License-Expression") or ""),
        str(about.get("License") or ""),
        [str(row) for row in about.get_all("Classifier") or ()],
    )
