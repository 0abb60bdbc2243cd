"""Records of the data that people write: images.toml and the files of the user, with the type of every value.

A record has the keys of a table. `msgspec` reads the types: it checks a file (facts/data_check.py) and makes the JSON
Schemas for editors (docs/schemas). Only a file that changed is checked: an ordinary start does not import this module.
What concerns several rows, such as a name that must exist, is checked by the reader of the file.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec resolves the types of the fields
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta, Struct, field

from dynamo_containers import value_types
from dynamo_containers.facts import data_types

if TYPE_CHECKING:
    from typing import TypeAlias

    from dynamo_containers.value_types import TextType


def _meta(kind: TextType) -> Meta:
    return Meta(pattern=kind.pattern, max_length=kind.longest, description=kind.allowed)


Name: TypeAlias = Annotated[str, _meta(value_types.ROW_NAME)]
Title: TypeAlias = Annotated[str, _meta(data_types.TITLE)]
Reason: TypeAlias = Annotated[str, _meta(data_types.REASON)]
LockName: TypeAlias = Annotated[str, _meta(data_types.LOCK_NAME)]
AbsolutePath: TypeAlias = Annotated[str, _meta(value_types.ABSOLUTE_PATH)]
ImageReference: TypeAlias = Annotated[str, _meta(value_types.IMAGE_REFERENCE)]
HttpUrl: TypeAlias = Annotated[str, _meta(value_types.HTTP_URL)]
Version: TypeAlias = Annotated[str, _meta(value_types.VERSION)]
GitRef: TypeAlias = Annotated[str, _meta(value_types.GIT_REF)]
Repository: TypeAlias = Annotated[str, _meta(data_types.REPOSITORY)]
Licenses: TypeAlias = Annotated[str, _meta(data_types.LICENSES)]
Glibc: TypeAlias = Annotated[str, _meta(data_types.GLIBC)]
Python: TypeAlias = Annotated[str, _meta(data_types.PYTHON)]
PythonRelease: TypeAlias = Annotated[str, _meta(data_types.PYTHON_RELEASE)]
Cuda: TypeAlias = Annotated[str, _meta(data_types.CUDA)]
Suite: TypeAlias = Annotated[str, _meta(data_types.SUITE)]
ArchiveSuite: TypeAlias = Annotated[str, _meta(data_types.ARCHIVE_SUITE)]
OsPackage: TypeAlias = Annotated[str, _meta(data_types.OS_PACKAGE)]
PythonPackage: TypeAlias = Annotated[str, _meta(data_types.PYTHON_PACKAGE)]
PinnedPackage: TypeAlias = Annotated[str, _meta(data_types.PINNED_PACKAGE)]
PackagePattern: TypeAlias = Annotated[str, _meta(data_types.PACKAGE_PATTERN)]
PathPattern: TypeAlias = Annotated[str, _meta(data_types.PATH_PATTERN)]
FilePattern: TypeAlias = Annotated[str, _meta(data_types.FILE_PATTERN)]
BinaryText: TypeAlias = Annotated[str, _meta(data_types.BINARY_TEXT)]
ContentPattern: TypeAlias = Annotated[str, _meta(data_types.CONTENT_PATTERN)]
LibraryPattern: TypeAlias = Annotated[str, _meta(data_types.LIBRARY_PATTERN)]
Member: TypeAlias = Annotated[str, _meta(data_types.MEMBER)]
ReleaseUrl: TypeAlias = Annotated[str, _meta(data_types.RELEASE_URL)]
RpmRepository: TypeAlias = Annotated[str, _meta(data_types.RPM_REPOSITORY)]
Component: TypeAlias = Annotated[str, _meta(data_types.COMPONENT)]
Snapshot: TypeAlias = Annotated[str, _meta(data_types.SNAPSHOT)]
Pool: TypeAlias = Annotated[str, _meta(data_types.POOL)]
GitUrl: TypeAlias = Annotated[str, _meta(data_types.GIT_URL)]
BuildSource: TypeAlias = Annotated[str, _meta(data_types.SOURCE)]
Module: TypeAlias = Annotated[str, _meta(data_types.MODULE)]
Argument: TypeAlias = Annotated[str, _meta(data_types.ARGUMENT)]
CachePlace: TypeAlias = Annotated[str, _meta(data_types.CACHE_PLACE)]
MirrorRegistry: TypeAlias = Annotated[str, _meta(data_types.MIRROR_REGISTRY)]
MirrorAddress: TypeAlias = Annotated[str, _meta(data_types.MIRROR_ADDRESS)]
BuilderName: TypeAlias = Annotated[str, _meta(data_types.BUILDER_NAME)]
Setting: TypeAlias = Annotated[str, _meta(data_types.SETTING)]
Days: TypeAlias = Annotated[int, Meta(ge=0, le=3650, description="a whole number of days from 0 to 3650")]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=10**6, description="a whole number, 1 or more")]
PlatformName: TypeAlias = Literal["linux/amd64", "linux/arm64"]


class Record(Struct, forbid_unknown_fields=True, rename="kebab"):
    """A table; an unknown key is refused."""

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    """Earlier key -> its name now."""


class ProjectRow(Record, kw_only=True):
    """The project of all images."""

    source: HttpUrl
    """The address of the source code, a label of every image."""
    licenses: Licenses
    """The licences of the images as an SPDX expression, a label of every image."""
    version_package: PythonPackage
    """The package in the base lock whose version is the version of every image."""
    oldest_glibc: Glibc
    """The oldest glibc that the wheels of the base stage must run on."""
    renamed_keys: ClassVar[Mapping[str, str]] = {"version-of": "version-package"}


class ReportsRow(Record, kw_only=True):
    """The reports of builds."""

    keep: Count
    """The number of builds whose reports are kept."""


class CommonLayerRow(Record, kw_only=True):
    """A layer of Python packages that images have in common, computed from their locks."""

    same_version: tuple[PackagePattern, ...]
    """The packages that all its images must have in the same version."""
    package_layers: dict[Name, tuple[PackagePattern, ...]] = {}
    """The image layers that it is split into, lowest first."""
    renamed_keys: ClassVar[Mapping[str, str]] = {"must-be-alike": "same-version", "pieces": "package-layers"}


class NotLockedRow(Record, kw_only=True):
    """Locks and pins that are knowingly missing."""

    locks: tuple[LockName, ...]
    """Their names, as `invoke lock --check --json` has them."""
    reason: Reason
    """Why they are missing."""
    until: Reason
    """What makes the row obsolete."""


class LockRow(Record, kw_only=True):
    """The rules of `invoke lock`."""

    cooldown_days: Days
    """The days that a release must be on its index before it can be locked."""
    cooldown_exempt: dict[PythonPackage, Reason] = {}
    """Packages without this delay, with the reason."""
    excluded: dict[PythonPackage, Reason] = {}
    """Packages that are never installed although another package requires them, with the reason."""
    cuda_exempt: dict[PythonPackage, Reason] = {}
    """Packages that may be of another CUDA major than the bases, with the reason."""
    cuda_versioned: dict[PackagePattern, Reason] = {}
    """Patterns of packages whose own version has CUDA's major, with how that is known."""
    accepted_content: dict[PinnedPackage, Reason] = {}
    """`name==version` of a package with suspicious content, with the reason for which it is accepted."""
    common_layers: dict[Name, CommonLayerRow] = {}
    """The layers of Python packages that images have in common."""
    not_locked: dict[Name, NotLockedRow] = {}
    """Locks and pins that are knowingly missing; one that exists must not be named."""
    renamed_keys: ClassVar[Mapping[str, str]] = {"left-out": "excluded", "shared": "common-layers"}


class IndexRow(Record, kw_only=True):
    """An additional index of Python packages."""

    url: HttpUrl
    """Its address; credentials are in .netrc."""
    packages: tuple[PythonPackage, ...]
    """The packages that come from it and from no other index."""


class GitSourceRow(Record, kw_only=True):
    """Source code in a git repository."""

    git: GitUrl
    """The address of the repository."""
    ref: GitRef
    """A tag or branch; `invoke lock` pins its commit."""
    build: BuildSource = ""
    """The source to build wheels from, as on the command line."""


class RpmRepositoriesRow(Record, kw_only=True):
    """The repositories of RPMs for a root image of a registry."""

    address: HttpUrl
    """Their public address."""
    paths: tuple[RpmRepository, ...]
    """The repositories below the address."""
    keyring: AbsolutePath
    """The file in the root image with the keys that sign the packages."""


class RootRow(Record, kw_only=True):
    """A root image: bootstrapped from a suite, or one of a registry by `image`."""

    image: ImageReference = ""
    """The image in a registry; without it the root image is bootstrapped from Debian's packages."""
    suite: Suite = ""
    """The suite of its packages."""
    packages: tuple[OsPackage, ...] = ()
    """The packages that are installed in it."""
    repositories: RpmRepositoriesRow | None = None
    """The repositories of its RPMs."""
    interpreter: AbsolutePath = ""
    """Its Python, where that is not the one of its bases."""
    glibc: Glibc = ""
    """Its glibc, where that is not the one of its bases."""
    python: PythonRelease = ""
    """The version of its Python with its patch release, where that is not the one of its bases."""


class ProgramRow(Record, kw_only=True):
    """A program: of a .deb package (`suite`, `package`), or of a release archive (`url`, `version`)."""

    files: dict[Member, AbsolutePath]
    """File in the package or archive -> its path in the image."""
    suite: Suite = ""
    """The suite of its package."""
    package: OsPackage = ""
    """Its package."""
    url: ReleaseUrl = ""
    """The address of its release archive."""
    version: Version = ""
    """The version of its release archive."""


class ToolchainRow(Record, kw_only=True):
    """A compiler from a release archive, for a set of OS packages."""

    url: ReleaseUrl
    """The address of its release archive."""
    version: Version
    """The version of its release archive."""
    installer: Member
    """The script in the archive that installs it."""


class PackageSetRow(Record, kw_only=True):
    """A set of OS packages that is installed in one layer."""

    root: Name
    """The role of the root image below it."""
    packages: tuple[OsPackage, ...]
    """The packages to install."""
    renamed_keys: ClassVar[Mapping[str, str]] = {"on": "root"}


class DebSourcesRow(Record, kw_only=True):
    """Origins of locked .debs that have precedence over the mirror of the machine."""

    pool: Pool = ""
    """A folder, or its URL."""
    snapshot: Snapshot = ""
    """The address of a snapshot service."""


class AptArchiveRow(Record, kw_only=True):
    """The apt archive of the packages on root images of registries."""

    suites: tuple[ArchiveSuite, ...]
    """The suites to read."""
    components: tuple[Component, ...]
    """The components to read."""
    keyring: AbsolutePath
    """The file in the root image with the keys that sign the archive."""
    amd64: HttpUrl = field(name="linux/amd64")
    """The address for linux/amd64."""
    arm64: HttpUrl = field(name="linux/arm64")
    """The address for linux/arm64."""


class BasesRow(Record, kw_only=True):
    """A set of root images for the whole build."""

    description: Title
    """What it is, on one line."""
    strict: bool
    """Whether an input that is no longer available is an error."""
    python: Python
    """The version of Python, with its patch release where that is known."""
    interpreter: AbsolutePath
    """The path of Python in the root images."""
    glibc: Glibc
    """The version of glibc."""
    cuda: Cuda = ""
    """The CUDA major of its libraries."""
    roots: dict[Name, RootRow] = {}
    """Role -> the root image."""
    programs: dict[Name, ProgramRow] = {}
    """The programs in every runtime."""
    packages: dict[Name, PackageSetRow] = {}
    """The sets of OS packages."""
    toolchains: dict[Name, ToolchainRow] = {}
    """Set of OS packages -> the compiler to add to it."""
    archive: AptArchiveRow | None = None
    """The apt archive of the packages on root images of registries."""
    deb_sources: DebSourcesRow | None = None
    """Origins of locked .debs."""
    renamed_keys: ClassVar[Mapping[str, str]] = {"sources": "deb-sources"}


class BudgetRow(Record, kw_only=True):
    """The limits for the size of an image, in millions of bytes."""

    compressed_mb: Count | None = None
    """What a machine without any of its layers pulls."""
    uncompressed_mb: Count | None = None
    """Its size on disk."""
    largest_layer_mb: Count | None = None
    """Its largest layer, compressed."""
    layers: Count | None = None
    """The number of its layers."""
    second_backend_mb: Count | None = None
    """What a machine with another backend pulls."""
    dynamo_bump_mb: Count | None = None
    """What a new version of Dynamo costs to pull."""


class ImageRow(Record, kw_only=True):
    """An image that users pull, with its -ci and -dev variants."""

    title: Title
    """Its name for people, a label."""
    description: Title
    """What it is, a label."""
    repository: Repository
    """The name in its tag; no two images have the same."""
    stages: tuple[Literal["base", "backend", "runtime", "ci", "dev"], ...]
    """The stages that can be built."""
    bases: tuple[Name, ...]
    """The bases that it can be built on."""
    platforms: tuple[PlatformName, ...]
    """The platforms that it can be built for."""
    backend: Module = ""
    """Its inference engine, by the name of the module of Dynamo: dynamo.<backend>."""
    install_from: Literal["wheels", "image"] = "wheels"
    """How it gets its inference engine: locked wheels, or the published image of the engine."""
    engine_image: ImageReference = ""
    """The published image of its engine."""
    engine_interpreter: AbsolutePath = ""
    """The Python of that image."""
    imports: tuple[Module, ...] = ()
    """Modules that must be importable without a device."""
    worker_arguments: tuple[Argument, ...] = ()
    """The arguments of the worker in the GPU smoke test."""
    allow_build_tools: dict[PathPattern, Reason] = {}
    """Build tools that its runtime may contain, with the reason."""
    missing_libraries: dict[LibraryPattern, Reason] = {}
    """Libraries that a file in it links and that are not in it, with the reason."""
    unloadable_libraries: dict[PathPattern, Reason] = {}
    """Extension modules in it that cannot be opened without a device or at all, with the reason."""
    common_layer: Name = ""
    """The layer of Python packages that it has in common with other images."""
    package_layers: dict[Name, tuple[PackagePattern, ...]] = {}
    """The image layers that its own Python packages are split into, lowest first."""
    os_packages: tuple[Name, ...] = ()
    """Its sets of OS packages at run time."""
    compile_from_source: dict[PlatformName, tuple[PythonPackage, ...]] = {}
    """Platform -> the packages that have no wheel for it and are compiled."""
    budget: dict[PlatformName, BudgetRow] = {}
    """Platform -> the limits for its size."""
    indexes: tuple[Name, ...] = ()
    """Indexes of some of its Python packages."""
    renamed_keys: ClassVar[Mapping[str, str]] = {
        "keeps": "allow-build-tools",
        "lacks": "missing-libraries",
        "shares": "common-layer",
        "way": "install-from",
        "pieces": "package-layers",
        "compiles": "compile-from-source",
    }


class DeniedContentRow(Record, kw_only=True):
    """What no layer of an image may contain."""

    reason: Reason
    """Why."""
    files: tuple[FilePattern, ...] = ()
    """Patterns of names of files and libraries, without regard to upper and lower case."""
    texts: tuple[BinaryText, ...] = ()
    """Texts in binaries."""


class ContentExceptionRow(Record, kw_only=True):
    """What is allowed although a rule denies it."""

    rule: Name
    """A row `content.denied`, or foreign-machine, startup, setuid or unreadable."""
    paths: tuple[ContentPattern, ...]
    """Patterns of the path in the image."""
    reason: Reason
    """Why it is allowed."""
    evidence: Reason
    """Where one can see that."""


class ContentRow(Record, kw_only=True):
    """What the layers of images may not contain, and the exceptions."""

    denied: dict[Name, DeniedContentRow] = {}
    """The rules, by name."""
    exceptions: dict[Name, ContentExceptionRow] = {}
    """The exceptions, by name."""


class ImagesFile(Record, kw_only=True):
    """containers/images.toml: the images that can be built."""

    project: ProjectRow
    reports: ReportsRow
    lock: LockRow
    bases: dict[Name, BasesRow]
    """The bases, by name."""
    images: dict[Name, ImageRow]
    """The images, by name."""
    content: ContentRow = field(default_factory=ContentRow)
    """What the layers of images may not contain."""
    indexes: dict[Name, IndexRow] = {}
    """The additional indexes of Python packages, by name."""
    sources: dict[Name, GitSourceRow] = {}
    """Git repositories for wheels that no index has, by name."""


class MirrorsFile(Record, kw_only=True):
    """mirrors.toml: the mirrors of this machine's network."""

    registries: dict[MirrorRegistry, MirrorRegistry] = {}
    """A registry, or a part of it -> its mirror."""
    addresses: dict[MirrorAddress, MirrorAddress] = {}
    """The beginning of a public address -> that of its mirror."""


class PlatformCachesRow(Record, kw_only=True):
    """The build caches of an image on a platform."""

    read: tuple[CachePlace, ...] | None = field(name="from", default=None)
    """Where caches are read."""
    write: CachePlace = field(name="to", default="")
    """Where a cache is written, if the command line asks for it."""


class ImageCachesRow(PlatformCachesRow, kw_only=True):
    """The build caches of an image."""

    amd64: PlatformCachesRow | None = field(name="linux/amd64", default=None)
    """On linux/amd64, instead of the rows above."""
    arm64: PlatformCachesRow | None = field(name="linux/arm64", default=None)
    """On linux/arm64, instead of the rows above."""


class CachesFile(PlatformCachesRow, kw_only=True):
    """caches.toml: the build caches of this machine."""

    images: dict[Name, ImageCachesRow] = {}
    """Image -> its caches, instead of the rows above."""


class BuildersFile(Record, kw_only=True):
    """builders.toml: the builders of this machine."""

    builders: dict[PlatformName, BuilderName]
    """Platform -> the builder of buildx that builds it."""


SCHEMAS: dict[str, type] = {
    "images.toml": ImagesFile,
    "mirrors.toml": MirrorsFile,
    "caches.toml": CachesFile,
    "builders.toml": BuildersFile,
    "sccache.toml": dict[str, Setting],  # the variables are in facts/sccache.py
}
"""Data file -> the type of its content."""
