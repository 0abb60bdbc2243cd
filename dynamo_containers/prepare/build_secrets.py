"""Secrets of a build: certificates, index address and netrc of this machine. They are not in the image.

Certificates, netrc and sccache.toml are files of the user. The index address is in pip's configuration, and may contain
a password: it has a file of its own while a build runs, and only then.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process, spelling, state
from dynamo_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def secrets(folder: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets for bake, with which this machine reaches an index; only install steps mount them.

    `index_file` writes the file of the index address.
    """
    certificates = Path(environment.get("SSL_CERT_FILE", CERTIFICATES))
    netrc = Path(environment.get("NETRC", Path.home() / ".netrc"))
    specifications = [
        spelling.attributes(id=name, src=str(path))
        for name, path in (("ca", certificates), ("netrc", netrc))
        if path.is_file()
    ]
    if index_address(environment):
        specifications.append(spelling.attributes(id="index", src=str(folder / state.INDEX_ADDRESS)))
    return tuple(specifications)


def announce(folder: Path, environment: Mapping[str, str]) -> None:
    """Print the file that a build would write first, and remove."""
    if index_address(environment):
        print(f"# first: the address of this machine's Python index in {folder / state.INDEX_ADDRESS}", file=sys.stderr)


@contextmanager
def index_file(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Keep the file of the index address while bake runs, if this machine has its own index.

    Only its owner can read it. It is removed however the block ends, unless another build of the checkout uses it; then
    by that one. What a killed build left is removed by the next one, and by `invoke clean`.
    """
    address = index_address(environment)
    if not address and not (folder / state.INDEX_ADDRESS).exists():
        yield
        return
    with _lock(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            if address:
                with process.replace_file(folder / state.INDEX_ADDRESS, mode=0o600, durable=False) as file:
                    file.write(address.encode())
            yield
        finally:
            _remove_unused(folder, lock)


def remove_left(folder: Path) -> bool:
    """Remove the file of the index address that a killed build left; return whether there was one."""
    if not (folder / state.INDEX_ADDRESS).exists():
        return False
    with _lock(folder) as lock:
        return _remove_unused(folder, lock)


@contextmanager
def _lock(folder: Path) -> Iterator[int]:
    file = folder / state.INDEX_LOCK
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)  # an earlier version of this library may have made it
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_unused(folder: Path, lock: int) -> bool:
    """Remove the file of the index address unless another build holds the lock; return whether it was removed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    file = folder / state.INDEX_ADDRESS
    for left in (file, *file.parent.glob(f".{file.name}.*")):  # the names of process.replace_file
        left.unlink(missing_ok=True)
    return True


def index_address(environment: Mapping[str, str]) -> str:
    """Return the index in pip's configuration on this machine, '' for pip's default.

    The variable decides, else the last of pip's files that has one (https://pip.pypa.io/en/stable/topics/configuration/).
    """
    if address := environment.get("PIP_INDEX_URL", ""):
        return address
    contents = {file: file_reader.read_text_if_there(file) for file in pip_files(environment)}
    texts = {file: text for file, text in contents.items() if text is not None}
    if not any(re.search(r"^\s*index-url", text, re.MULTILINE) for text in texts.values()):
        return ""
    import configparser  # most machines have no such line, and a no-op must be fast

    parser = configparser.RawConfigParser()
    for file, text in texts.items():
        try:
            parser.read_string(text)
        except configparser.Error as error:
            message = (
                f"{file} is not a valid configuration of pip: {error}.\nCorrect it, and check with: pip config debug"
            )
            raise UsageError(message) from None
    return parser.get("global", "index-url", fallback="")


def pip_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the configuration files of pip in the order of reading; PIP_CONFIG_FILE=/dev/null means none."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == "/dev/null":
        return ()
    home = Path.home()
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    files = (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", user)
    return (*files, Path(sys.prefix) / "pip.conf", *((Path(named),) if named else ()))
