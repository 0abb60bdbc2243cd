"""Stand-in for the archive of Ubuntu and its snapshot service: .debs, and lists signed with its own key."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.platforms import native_platform
from dynamo_containers.upstream import host_tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

NATIVE = native_platform()
KEY = "Archive Stand-In <stand-in@example.invalid>"
SUITES = ("noble", "noble-updates", "noble-security")


@dataclass(frozen=True, kw_only=True)
class SmallDeb:
    """A nearly empty package in place of one of Ubuntu, with the metadata that others need."""

    name: str
    depends: str = ""
    version: str = "1000-1"
    files: Mapping[str, str] = field(default_factory=dict)
    """Path -> text."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A server with an archive at /ubuntu, and the same one at /snapshot for any time."""

    folder: Path
    address: str
    keyring: Path
    requests: list[str] = field(default_factory=list)
    """The requested paths."""

    def offer(self, debs: Iterable[Path], small: Iterable[SmallDeb]) -> None:
        """Add packages to the first suite and sign all lists; the other suites are empty."""
        pool = self.folder / "ubuntu/pool"
        pool.mkdir(parents=True, exist_ok=True)
        for deb in debs:
            values = (
                _output("dpkg-deb", "--field", str(deb), field) for field in ("Package", "Version", "Architecture")
            )
            name, version, architecture = map(str.strip, values)
            shutil.copy2(deb, pool / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb")
        for package in small:
            _build(package, pool, self.folder / "trees" / package.name)
        stanzas = []
        for deb in sorted(pool.iterdir()):
            content = deb.read_bytes()
            lines = f"Filename: pool/{deb.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
            stanzas.append(f"{_output('dpkg-deb', '--field', str(deb)).rstrip()}\n{lines}")
        for suite in SUITES:
            self._publish(suite, "\n".join(stanzas) if suite == SUITES[0] else "")

    def _publish(self, suite: str, packages: str) -> None:
        place = self.folder / "ubuntu/dists" / suite
        lists = {f"{part}/binary-{NATIVE.arch}/Packages": packages for part in ("main", "universe")}
        lists[f"universe/binary-{NATIVE.arch}/Packages"] = ""
        for file, text in lists.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_text(text, encoding="utf-8")
        sums = "".join(
            f" {hashlib.sha256(text.encode()).hexdigest()} {len(text.encode())} {file}\n"
            for file, text in lists.items()
        )
        head = f"Origin: Ubuntu\nSuite: {suite}\nCodename: {suite}\nDate: Tue, 24 Nov 2026 12:00:00 UTC\n"
        release = f"{head}Architectures: {NATIVE.arch}\nComponents: main universe\nSHA256:\n{sums}"
        self.sign(place / "InRelease", release)

    def sign(self, file: Path, text: str) -> None:
        """Sign a text with the key of the archive."""
        argv = ("gpg", "--batch", "--yes", "--homedir", str(self.folder / "gpg"), "--clearsign", "--output", str(file))
        subprocess.run(argv, input=text, env=_gpg(), text=True, check=True, capture_output=True)


def _gpg() -> dict[str, str]:
    return {**os.environ, **host_tools.environment(ROOT, ("gpg", "gpg-agent"))}


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def _build(small: SmallDeb, pool: Path, tree: Path) -> None:
    (tree / "DEBIAN").mkdir(parents=True)
    depends = f"Depends: {small.depends}\n" if small.depends else ""
    control = f"Package: {small.name}\nVersion: {small.version}\nArchitecture: {NATIVE.arch}\nMaintainer: none\n"
    (tree / "DEBIAN/control").write_text(f"{control}{depends}Description: a stand-in\n", encoding="utf-8")
    for path, text in {f"usr/share/doc/{small.name}/copyright": "none\n", **small.files}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, encoding="utf-8")
        (tree / path).chmod(0o755)
    _output("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(pool))
    shutil.rmtree(tree)


@contextmanager
def archive(folder: Path) -> Iterator[Archive]:
    """Serve an archive until the end of the block."""
    (folder / "gpg").mkdir(mode=0o700)
    home = ("gpg", "--batch", "--homedir", str(folder / "gpg"))
    make = (*home, "--passphrase", "", "--quick-generate-key", KEY, "rsa3072", "sign", "2d")
    subprocess.run(make, env=_gpg(), check=True, capture_output=True)
    key = subprocess.run((*home, "--export"), env=_gpg(), check=True, capture_output=True).stdout
    (folder / "keyring.gpg").write_bytes(key)
    requests: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            requests.append(path)
            parts = path.split("/")
            # /snapshot/TIME/...: this archive never changes, so it is the same at any time.
            return super().translate_path("/".join(["/ubuntu", *parts[3:]]) if parts[1] == "snapshot" else path)

        def log_message(self, *_: object) -> None:
            """Keep the requests off the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            yield Archive(folder=folder, address=address, keyring=folder / "keyring.gpg", requests=requests)
        finally:
            server.shutdown()
            thread.join()
            kill = ("gpgconf", "--homedir", str(folder / "gpg"), "--kill", "gpg-agent")
            subprocess.run(kill, env=_gpg(), check=False, capture_output=True)
