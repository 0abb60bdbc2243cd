"""Secrets of a build: certificates, index address and netrc of this machine, never kept in an image."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process, state
from dynamo_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def secrets(folder: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets of bake: what this machine needs to reach an index; mounted for single steps, never kept.

    The file of the index address is written by `ensure`.
    """
    certificates = Path(environment.get("SSL_CERT_FILE", CERTIFICATES))
    netrc = Path(environment.get("NETRC", Path.home() / ".netrc"))
    found = [f"id={name},src={path}" for name, path in (("ca", certificates), ("netrc", netrc)) if path.is_file()]
    if index_address(environment):
        found.append(f"id=index,src={folder / state.INDEX_ADDRESS}")
    return tuple(found)


def ensure(folder: Path, environment: Mapping[str, str]) -> None:
    """Write the file that the index secret is read from, where this machine has an index of its own."""
    if address := index_address(environment):
        file = folder / state.INDEX_ADDRESS
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        process.write(process.Document(path=file, text=address))


def index_address(environment: Mapping[str, str]) -> str:
    """Return the index that pip is configured with on this machine, '' for pip's default.

    The variable, else pip's files, the later ones win (https://pip.pypa.io/en/stable/topics/configuration/).
    """
    if address := environment.get("PIP_INDEX_URL", ""):
        return address
    texts = {file: file.read_text(encoding="utf-8") for file in pip_files(environment) if file.is_file()}
    if not any(re.search(r"^\s*index-url", text, re.MULTILINE) for text in texts.values()):
        return ""
    import configparser  # most machines have no such line, and a no-op shall be quick

    parser = configparser.RawConfigParser()
    for file, text in texts.items():
        try:
            parser.read_string(text)
        except configparser.Error as error:
            message = f"{file} is no valid configuration of pip: {error}.\nMend it; pip needs it too: pip config debug"
            raise UsageError(message) from None
    return parser.get("global", "index-url", fallback="")


def pip_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files that pip reads here, the ones that win last; PIP_CONFIG_FILE=/dev/null means none."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == "/dev/null":
        return ()
    home = Path.home()
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    files = (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", user)
    return (*files, Path(sys.prefix) / "pip.conf", *((Path(named),) if named else ()))
