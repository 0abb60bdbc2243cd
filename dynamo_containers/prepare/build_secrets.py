"""Secrets of a build: certificates, index address and netrc of this machine. They are not in the image."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process, spelling, state
from dynamo_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def secrets(folder: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets for bake, with which this machine reaches an index; only install steps mount them.

    `ensure` writes the file of the index address.
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


def ensure(folder: Path, environment: Mapping[str, str]) -> None:
    """Write the file of the index secret, if this machine has its own index."""
    if address := index_address(environment):
        file = folder / state.INDEX_ADDRESS
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        process.write(process.Document(path=file, text=address))


def index_address(environment: Mapping[str, str]) -> str:
    """Return the index in pip's configuration on this machine, '' for pip's default.

    The variable decides, else the last of pip's files that has one (https://pip.pypa.io/en/stable/topics/configuration/).
    """
    if address := environment.get("PIP_INDEX_URL", ""):
        return address
    texts = {file: file.read_text(encoding="utf-8") for file in pip_files(environment) if file.is_file()}
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
