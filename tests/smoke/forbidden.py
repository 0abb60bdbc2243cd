"""Strings of this machine that must be in no image; they are collected when the tests run.

They are the certificates, addresses and credentials of the package indexes, and the folders of the build.
"""

from __future__ import annotations

import base64
import netrc
import os
import re
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pip._internal.models.index import PyPI
from pip._vendor import certifi

from dynamo_containers import process
from dynamo_containers.prepare import build_secrets
from dynamo_containers.upstream import apt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+.*?-----END CERTIFICATE-----", re.DOTALL)
HOMES_OF_IMAGES = (Path("/root"), Path("/home/dynamo"))
SIGNATURE = 48
"""Number of bytes at the end of a certificate that are unique: the end of its signature."""
INDEX_OPTION = re.compile(r"^\S*(index-url|find-links)='(.*)'$", re.MULTILINE)
UV_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}")


@dataclass(frozen=True, kw_only=True)
class Forbidden:
    """A string that must be in no layer: its public name, and its secret bytes."""

    name: str
    needles: tuple[bytes, ...]

    def is_in(self, content: bytes) -> bool:
        """Return whether the content has it."""
        return any(needle in content for needle in self.needles)


@dataclass(frozen=True, kw_only=True)
class PrivateKey(Forbidden):
    """Any private key."""

    def is_in(self, content: bytes) -> bool:
        """Return whether the content has a private key; the header alone is in every library that reads keys."""
        return super().is_in(content) and PRIVATE_KEY.search(content) is not None


@dataclass(frozen=True, kw_only=True)
class ForbiddenFolder(Forbidden):
    """The path of a folder."""

    def is_in(self, content: bytes) -> bool:
        """Return whether the content has the folder or a path below it: `/tmp/v` is not in `/tmp/video`."""
        if not super().is_in(content):
            return False
        return any(re.search(re.escape(needle) + rb"(?![\w-]|[.]\w)", content) for needle in self.needles)


def machine_traces(checkout: Path) -> tuple[Forbidden, ...]:
    """Return all strings that this machine could have left in an image."""
    return (
        PrivateKey(name="a private key", needles=(b"PRIVATE KEY-----",)),
        *_folders(checkout, Path.home()),
        *_indexes(),
        *_mirrors(),
        *_credentials(os.environ),
        *_certificates(os.environ),
    )


def _folders(checkout: Path, home: Path) -> Iterator[Forbidden]:
    """Yield the folders of the checkout and of the configuration of the user.

    A short path (`/src`) or a home alone (`/home/runner`) may be in files that others compiled.
    """
    deep = len(checkout.parts) > 2
    folders = (checkout,) if deep else tuple(checkout / name for name in ("containers", "constraints", ".build"))
    yield ForbiddenFolder(name="the path of the checkout", needles=tuple(str(path).encode() for path in folders))
    if home not in HOMES_OF_IMAGES:
        settings = tuple(f"{home}/{name}".encode() for name in (".netrc", ".config/", ".docker/", ".pip", ".ssh/"))
        yield Forbidden(name="the settings of the user who built", needles=settings)


def _text(name: str, value: str) -> Forbidden:
    return Forbidden(name=name, needles=(value.encode(),))


def _indexes() -> Iterator[Forbidden]:
    """Yield the configured package indexes of pip and uv, except for the default one, which many texts name."""
    public = {urlsplit(PyPI.url).hostname, PyPI.file_storage_domain}
    for number, address in enumerate(dict.fromkeys(_addresses(os.environ)), start=1):
        url = urlsplit(address)
        if url.hostname and url.hostname not in public:
            yield _text(f"the host of package index {number}", url.hostname)
        if url.password:
            yield _text(f"the password of package index {number}", url.password)
        if not url.hostname and url.path.startswith("/"):
            yield _text(f"the folder of package index {number}", url.path.rstrip("/"))


def _addresses(environment: Mapping[str, str]) -> Iterator[str]:
    listed = process.capture(process.Command(argv=(sys.executable, "-m", "pip", "config", "list")))
    for _, value in INDEX_OPTION.findall(listed):
        yield from value.replace("\\n", " ").split()
    for name in UV_VARIABLES:
        yield from (value.rpartition("=")[2] for value in environment.get(name, "").split())  # UV_INDEX: name=address


def _mirrors() -> Iterator[Forbidden]:
    for archive, mirror in apt.host_mirrors().items():
        if host := urlsplit(mirror).hostname:
            yield _text(f"the mirror of {archive}", host)


def _credentials(environment: Mapping[str, str]) -> Iterator[Forbidden]:
    """Yield the passwords that a build may mount (build_secrets.secrets)."""
    file = Path(environment.get("NETRC", Path.home() / ".netrc"))
    if file.is_file():
        for host, (_, _, password) in netrc.netrc(file).hosts.items():
            yield _text(f"the password for {host} in netrc", password)


def _certificates(environment: Mapping[str, str]) -> Iterator[Forbidden]:
    """Yield the certificates of this machine that are not public, such as those of a company or a proxy."""
    bundle = Path(environment.get("SSL_CERT_FILE", build_secrets.CERTIFICATES))
    if not bundle.is_file():
        return
    public = {*certificates(Path(certifi.where()).read_text(encoding="utf-8"))}
    for file in Path("/usr/share/ca-certificates").glob("**/*.crt"):
        public |= {*certificates(file.read_text(encoding="utf-8"))}
    private = [
        certificate for certificate in certificates(bundle.read_text(encoding="utf-8")) if certificate not in public
    ]
    for number, certificate in enumerate(private, start=1):
        yield Forbidden(name=f"certificate {number} that only this machine trusts", needles=_forms(certificate))


def certificates(text: str) -> Iterable[bytes]:
    """Return the certificates of a PEM file, as DER."""
    return [ssl.PEM_cert_to_DER_cert(pem.strip()) for pem in PEM.findall(text)]


def _forms(certificate: bytes) -> tuple[bytes, ...]:
    """Return the end of a certificate in the form of a DER file and of a PEM file."""
    lines = base64.encodebytes(certificate)  # 76 characters a line; PEM files have 64
    encoded = lines.replace(b"\n", b"")
    full_lines = [encoded[start : start + 64] for start in range(0, len(encoded), 64)]
    return certificate[-SIGNATURE:], full_lines[-2]
