"""Package resolution by Debian's own apt, with a private configuration.

apt reads only the configuration that this module writes (its own folder, lists and dpkg status), so the packages and
lists of the host do not change. Release files are verified by signature with the keyring of the archive. The Debian
mirror is the one in the apt configuration of the host: this project contains no host name of a mirror.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from dynamo_containers import process
from dynamo_containers.errors import LockError, UnsupportedHostError
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.value_types import SIZE, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
HOST_STATUS = Path("/var/lib/dpkg/status")
MAIN = "debian"
SECURITY = "debian-security"


@dataclass(frozen=True, kw_only=True)
class Apt:
    """A private apt: one suite, one architecture, one folder."""

    folder: Path
    suite: str
    architecture: str
    mirrors: dict[str, str]
    status: Path | None = None
    """A dpkg status file; its packages count as installed. None: no package is installed."""
    keyring: Path | None = None
    """The keys that sign the archives. None: those of Debian."""
    suites: tuple[tuple[str, str], ...] = ()
    """(archive, suite) of each package list for `suite`. Empty: those of Debian."""
    components: tuple[str, ...] = ("main",)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that make apt and apt-get use this configuration."""
        return {"APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}


@cache
def host_mirrors() -> dict[str, str]:
    """Return the URL of each Debian archive in the apt configuration of the host, without a trailing slash.

    Raises:
        UnsupportedHostError: the host has no apt, no archive keyring, or no Debian archive in its sources.
    """
    if which("apt-get") is None or not KEYRING.exists():
        message = (
            "The `debian` bases and the private engine are made from Debian packages, and this needs apt and "
            f"{KEYRING} on this machine.\n"
            "Install the packages apt and debian-archive-keyring, or run on a Debian machine."
        )
        raise UnsupportedHostError(message)
    targets = process.capture(process.Command(argv=("apt-get", "indextargets", "--format", "$(REPO_URI)")))
    urls = [line.rstrip("/") for line in targets.splitlines()]
    mirrors = {archive: next((url for url in urls if url.endswith(f"/{archive}")), "") for archive in (MAIN, SECURITY)}
    if not mirrors[MAIN]:
        message = (
            "apt on this machine is configured without a Debian archive (an address that ends in /debian).\n"
            "Add one to /etc/apt/sources.list.d, run `apt-get update`, and try again."
        )
        raise UnsupportedHostError(message)
    if not mirrors[SECURITY]:
        mirrors[SECURITY] = mirrors[MAIN].removesuffix(MAIN) + SECURITY
    return mirrors


def configuration(apt: Apt) -> tuple[process.Document, ...]:
    """Return the files of the private apt configuration in `apt.folder`."""
    signed = f"arch={apt.architecture} signed-by={apt.keyring or KEYRING}"
    lines = [
        f"deb [{signed}] {apt.mirrors[archive]} {suite} {' '.join(apt.components)}"
        for archive, suite in apt.suites or _suites(apt.suite)
    ]
    status = apt.status or apt.folder / "status"
    settings = f"""\
Dir "{apt.folder}";
Dir::State "{apt.folder}";
Dir::State::status "{status}";
Dir::Cache "{apt.folder}/cache";
Dir::Etc "{apt.folder}/etc";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "{apt.folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{apt.architecture}";
APT::Architectures {{ "{apt.architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
// apt counts itself as essential unless told otherwise; an image needs no apt.
pkgCacheGen::ForceEssential ",";
Acquire::Languages "none";
Acquire::ForceHash "SHA256";
// Debian's testing suite is sometimes served past its Valid-Until; the signature is still checked.
Acquire::Check-Valid-Until "false";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""
    empty_status = () if apt.status else (process.Document(path=apt.folder / "status", text=""),)
    return (
        process.Document(path=apt.folder / "apt.conf", text=settings),
        process.Document(path=apt.folder / "sources.list", text="\n".join(lines) + "\n"),
        *empty_status,
    )


def _suites(suite: str) -> tuple[tuple[str, str], ...]:
    if suite == "forky":  # testing: its fixes arrive in the suite itself
        return ((MAIN, suite),)
    return ((MAIN, suite), (MAIN, f"{suite}-updates"), (SECURITY, f"{suite}-security"))


def update(apt: Apt) -> None:
    """Download the signed package lists of the suite into the private folder."""
    for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (apt.folder / name).mkdir(parents=True, exist_ok=True)
    origin = "mirror in your apt sources" if not apt.suites else "archive"
    hint = f"apt could not read the suite {apt.suite}. Check that the {origin} is reachable."
    argv = ("apt-get", "update", "--error-on=any")
    title = f"reading the package lists of {apt.suite} ({apt.architecture})"
    process.execute(
        process.Plan(
            documents=configuration(apt),
            commands=(process.Command(argv=argv, env=apt.environment, quiet=True, title=title, hint=hint),),
        )
    )


def resolve(apt: Apt, requested: tuple[str, ...]) -> tuple[Package, ...]:
    """Return the packages that apt would install for `requested` (names or apt patterns), sorted by name.

    Call `update` first.
    """
    # An installed package is upgraded only where another package requires it.
    no_upgrade = ("--no-upgrade",) if apt.status else ()
    argv = ("apt-get", "install", "--yes", "--print-uris", "--no-install-recommends", *no_upgrade, *requested)
    hint = f"A package does not exist in {apt.suite}: see the names above."
    return parse_uris(process.capture(process.Command(argv=argv, env=apt.environment, hint=hint)), apt.mirrors)


def parse_uris(text: str, mirrors: dict[str, str]) -> tuple[Package, ...]:
    """Read the lines of `apt-get --print-uris`: 'URI' FILE SIZE SHA256:HEX (apt-get(8)).

    Raises:
        LockError: a package has a name, version, path or size that no lock can have.
    """
    rows = [line.split() for line in text.splitlines() if line.startswith("'")]
    try:
        return tuple(sorted(_package(*row, mirrors=mirrors) for row in rows))
    except InvalidValueError as error:
        message = f"The mirror has a package that cannot be locked: {error}.\nIts suite is broken: use another mirror."
        raise LockError(message) from None


def _package(quoted: str, file: str, size: str, digest: str, *, mirrors: dict[str, str]) -> Package:
    url = quoted.strip("'")
    archive = next(name for name, mirror in mirrors.items() if url.startswith(f"{mirror}/"))
    name, version, architecture = unquote(file).removesuffix(".deb").split("_")
    return Package(
        name=name,
        version=version,
        architecture=architecture,
        archive=archive,
        path=unquote(url.removeprefix(f"{mirrors[archive]}/")),
        size=SIZE.parse_text(size),
        sha256=digest.removeprefix("SHA256:"),
    )


def url(package: Package, mirrors: Mapping[str, str]) -> str:
    """Return the URL of a package on the mirror of the host."""
    return address(mirrors[package.archive], package.path)


def address(mirror: str, path: str) -> str:
    """Return the URL of a path in an archive."""
    return f"{mirror}/{quote(path)}"
