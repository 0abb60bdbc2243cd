"""The data files: what they may say, and what is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.bases import Root
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.facts.pins import PINS_FILE, load_pins
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue

ARCHIVE = """\
[bases.debian.archive]
suites = ["{suite}"]
components = ["main"]
keyring = "/k.gpg"
"linux/amd64" = "http://a.invalid/ubuntu"
"linux/arm64" = "http://a.invalid/ports"
"""
COMPILER = "[bases.debian.packages.compiler]\n"
ETCD_ROW = "[bases.debian.programs.etcd]\n"
HEAD_OF_SMALL = 'title = "Dynamo small"\n'


def edit(checkout: Path, file: str, old: str, new: str) -> None:
    """Replace the one place where a data file says `old`."""
    text = (checkout / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (checkout / file).write_text(text.replace(old, new), encoding="utf-8")


def test_the_rows_of_the_data_files_become_values(catalogue: Catalogue) -> None:
    assert catalogue.source == "https://example.invalid/dynamo"
    assert catalogue.oldest_glibc == "2.35"
    assert list(catalogue.images) == ["base", "frontend", "small"]
    assert catalogue.images["frontend"].stages == (Stage.RUNTIME, Stage.CI)
    assert catalogue.images["small"].platforms == (Platform.AMD64,)
    assert catalogue.bases["debian"].strict is False
    assert catalogue.bases["debian"].roots["runtime"] == Root(suite="bookworm", packages=("python3",))
    assert catalogue.bases["debian"].programs["etcd"].files == {"usr/bin/etcd": "/usr/local/bin/etcd"}


def test_pins_are_found_by_bases_name_and_platform(catalogue: Catalogue) -> None:
    assert catalogue.pins.epoch == 1700000000
    assert catalogue.pins.programs["debian", "etcd", Platform.ARM64].sha256 == "8" * 64
    assert catalogue.pins.roots["debian", "runtime"].index == "sha256:" + "4" * 64
    assert catalogue.pins.root("debian", "runtime", Platform.ARM64) == "sha256:" + "6" * 64


def test_the_python_of_bases_is_stated_with_or_without_its_patch_release(checkout: Path) -> None:
    bases = load_catalogue(checkout).bases["debian"]
    assert (bases.python, bases.python_of("runtime")) == ("3.11", "3.11")
    edit(checkout, IMAGES_FILE, 'python = "3.11"', 'python = "3.11.2"')
    bases = load_catalogue(checkout).bases["debian"]
    assert (bases.python, bases.python_of("runtime")) == ("3.11", "3.11.2")


def test_a_root_image_with_its_own_interpreter_states_its_own_patch_release(checkout: Path) -> None:
    edit(checkout, IMAGES_FILE, 'python = "3.11"', 'python = "3.11.2"')
    row = "[bases.debian.roots.builder]\n"
    edit(checkout, IMAGES_FILE, row, f'{row}interpreter = "/opt/python"\n')
    assert load_catalogue(checkout).bases["debian"].python_of("builder") == "3.11"  # not that of its bases
    edit(checkout, IMAGES_FILE, row, f'{row}python = "3.11.14"\n')
    assert load_catalogue(checkout).bases["debian"].python_of("builder") == "3.11.14"


def test_this_project_s_own_data_files_are_right() -> None:
    own = load_catalogue()
    assert set(own.images) >= {"base", "frontend"}
    assert own.pins.epoch > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            HEAD_OF_SMALL,
            f'{HEAD_OF_SMALL}colour = "red"\n',
            "containers/images.toml: images.small.colour: unknown key (choose from: "
            "allow-build-tools, backend, bases, budget, common-layer, compile-from-source, description, engine-image, "
            "engine-interpreter, imports, indexes, install-from, missing-libraries, os-packages, package-layers, "
            "platforms, repository, stages, title, unloadable-libraries, worker-arguments).",
            id="an unknown key",
        ),
        pytest.param(
            HEAD_OF_SMALL,
            'titel = "Dynamo small"\n',
            "containers/images.toml: images.small.title is missing (a string).",
            id="a misspelt key",
        ),
        pytest.param(
            "[images.small]\n",
            "[image.small]\n",
            "containers/images.toml: image: unknown key (choose from: "
            "bases, content, images, indexes, lock, project, reports, sources).",
            id="a misspelt table",
        ),
        pytest.param(
            'python = "3.11"\n',
            'python = "3"\n',
            "containers/images.toml: bases.debian.python: found '3', "
            'allowed is a version of Python such as "3.11.2", or "3.11".',
            id="a Python without its minor version",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            '[bases.debian.roots.runtime]\npython = "3.12.1"\n',
            'containers/images.toml: bases.debian.roots.runtime.python: found "3.12.1", '
            'allowed is a patch release of Python 3.11, such as "3.11.2".',
            id="a root image with another Python than its bases",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            '[bases.debian.roots.runtime]\nsuit = "sid"\n',
            "containers/images.toml: bases.debian.roots.runtime.suit: unknown key "
            "(choose from: glibc, image, interpreter, packages, python, repositories, suite).",
            id="an unknown key of a root image",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            '[bases.debian.roots.runtime]\nimage = "debian:bookworm"\n',
            'containers/images.toml: bases.debian.roots.runtime.suite: found "bookworm", '
            "allowed is no suite, because the bases have no row `archive`.",
            id="packages on a root image of a registry without an archive to take them from",
        ),
        pytest.param(
            ETCD_ROW,
            f'{COMPILER}root = "runtime"\npackages = ["g++"]\nsuite = "sid"\n{ETCD_ROW}',
            "containers/images.toml: bases.debian.packages.compiler.suite: unknown key (choose from: packages, root).",
            id="an unknown key of a set of packages",
        ),
        pytest.param(
            ETCD_ROW,
            f'{COMPILER}root = "devel"\npackages = ["g++"]\n{ETCD_ROW}',
            'containers/images.toml: bases.debian.packages.compiler.root: found "devel", '
            'allowed is one of "builder", "runtime".',
            id="a set of packages on no root image",
        ),
        pytest.param(
            ETCD_ROW,
            f'[bases.debian.roots.devel]\nimage = "debian:12"\n'
            f'{COMPILER}root = "devel"\npackages = ["g++"]\n{ETCD_ROW}',
            'containers/images.toml: bases.debian.packages.compiler.root: found "devel", '
            'allowed is one of "builder", "runtime".',
            id="a set of packages on a root image of a registry",
        ),
        pytest.param(
            ETCD_ROW,
            f'[bases.debian.packages.builder]\nroot = "runtime"\npackages = ["g++"]\n{ETCD_ROW}',
            'containers/images.toml: bases.debian.packages.builder: found a set called "builder", '
            "allowed is a name that no root image has.",
            id="a set of packages that is called like a root image",
        ),
        pytest.param(
            ETCD_ROW,
            f'{COMPILER}root = "runtime"\npackages = []\n{ETCD_ROW}',
            "containers/images.toml: bases.debian.packages.compiler.packages: found [], "
            "allowed is at least one package.",
            id="a set of no packages",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            '[bases.debian.roots.devel]\nimage = "debian@sha256:1"\n[bases.debian.roots.runtime]\n',
            "containers/images.toml: bases.debian.roots.devel.image: found 'debian@sha256:1', "
            'allowed is "HOST[:PORT]/NAME:TAG", in which {machine} may stand for x86_64 or aarch64.',
            id="a root image without a tag",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            '[bases.debian.roots.devel]\nimage = "debian:1"\ntag = "1"\n[bases.debian.roots.runtime]\n',
            "containers/images.toml: bases.debian.roots.devel.tag: unknown key (choose from: "
            "glibc, image, interpreter, packages, python, repositories, suite).",
            id="an unknown key of a root image of a registry",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            f'{ARCHIVE}[bases.debian.roots.devel]\nimage = "debian:1"\nsuite = "noble"\n[bases.debian.roots.runtime]\n',
            "containers/images.toml: bases.debian.roots.devel: found suite without packages, "
            "allowed is both: the packages to install on the image, and their suite.",
            id="a suite of a root image of a registry without packages",
        ),
        pytest.param(
            "[bases.debian.roots.builder]\n",
            f'{ARCHIVE}[bases.debian.roots.builder]\nimage = "debian:1"\n',
            "containers/images.toml: bases.debian.roots.builder.packages: found packages, "
            "allowed is none: the builder of a registry is used as it is.",
            id="packages on a builder of a registry",
        ),
        pytest.param(
            "[bases.debian.roots.builder]\n",
            ARCHIVE.replace('"{suite}"', '"noble"') + "[bases.debian.roots.builder]\n",
            "containers/images.toml: bases.debian.archive.suites: found 'noble', allowed is a name with {suite} in it.",
            id="an archive of one suite",
        ),
        pytest.param(
            "[bases.debian.roots.builder]\n",
            ARCHIVE.replace("http://a.invalid/ports", "/srv/ports") + "[bases.debian.roots.builder]\n",
            "containers/images.toml: bases.debian.archive.\"linux/arm64\": found '/srv/ports', "
            "allowed is https://HOST[:PORT]/PATH or http://HOST[:PORT]/PATH, without a login, spaces, quotes or $.",
            id="an archive that is no address",
        ),
        pytest.param(
            "[bases.debian.roots.builder]\n",
            ARCHIVE.replace("/k.gpg", "k.gpg") + "[bases.debian.roots.builder]\n",
            "containers/images.toml: bases.debian.archive.keyring: found 'k.gpg', allowed is an absolute path",
            id="a keyring that is no path",
        ),
        pytest.param(
            'package = "etcd-server"\n',
            'package = "etcd-server"\nurl = "https://example.invalid/a"\n',
            "containers/images.toml: bases.debian.programs.etcd has both url and suite; only one of them is allowed.",
            id="a program of two kinds",
        ),
        pytest.param(
            'suite = "trixie"\npackage = "etcd-server"\n',
            'url = "https://example.invalid/a"\n',
            "containers/images.toml: bases.debian.programs.etcd.version is missing (a string).",
            id="a release archive without a version",
        ),
        pytest.param(
            "[images.small]\n",
            '[sources.dynamo]\ngit = "https://example.invalid"\nrev = "v1"\n[images.small]\n',
            "containers/images.toml: sources.dynamo.ref is missing (a string).",
            id="a source without a name to take",
        ),
        pytest.param(
            'package = "etcd-server"\n',
            'packages = "etcd-server"\n',
            "containers/images.toml: bases.debian.programs.etcd.packages: unknown key "
            "(choose from: files, package, suite, url, version).",
            id="a misspelt key of a program",
        ),
        pytest.param(
            "strict = false\n",
            "strict = 0\n",
            "containers/images.toml: bases.debian.strict: found 0, allowed is true or false.",
            id="a number for true or false",
        ),
        pytest.param(
            "cooldown-days = 7\n",
            'cooldown-days = "7"\n',
            "containers/images.toml: lock.cooldown-days: found '7', allowed is a whole number.",
            id="a string for a number",
        ),
        pytest.param(
            "keep = 3\n",
            "keep = 0\n",
            "containers/images.toml: reports.keep: found 0, allowed is a whole number, 1 or more.",
            id="no report at all",
        ),
        pytest.param(
            "cooldown-days = 7\n",
            "cooldown-days = true\n",
            "containers/images.toml: lock.cooldown-days: found True, allowed is a whole number.",
            id="true for a number",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            '[bases.debian.deb-sources]\npol = "kept"\n[bases.debian.roots.runtime]\n',
            "containers/images.toml: bases.debian.deb-sources.pol: unknown key (choose from: pool, snapshot).",
            id="a misspelt source",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            '[bases.debian.deb-sources]\nsnapshot = "https://old.example.invalid"\n[bases.debian.roots.runtime]\n',
            "containers/images.toml: bases.debian.deb-sources.snapshot: found 'https://old.example.invalid', "
            "allowed is a URL with {timestamp} in it, https://HOST/PATH without a login.",
            id="a snapshot service without a time",
        ),
        pytest.param(
            "[lock.cooldown-exempt]\n",
            '[lock.cooldown-exempt]\nidna = " "\n',
            "containers/images.toml: lock.cooldown-exempt.idna: found ' ', allowed is a reason: one line of text.",
            id="exemption without a reason",
        ),
        pytest.param(
            "cooldown-days = 7\n",
            "cooldown-days = 7\ncooldown-weeks = 1\n",
            "containers/images.toml: lock.cooldown-weeks: unknown key (choose from: accepted-content, common-layers,",
            id="unknown key of the lock table",
        ),
        pytest.param(
            'version-package = "ai-dynamo"\n',
            "version-package = 1\n",
            "containers/images.toml: project.version-package: found 1, allowed is a string.",
            id="a number for a string",
        ),
        pytest.param(
            'packages = ["python3"]\n',
            'packages = "python3"\n',
            "containers/images.toml: bases.debian.roots.runtime.packages: found 'python3', "
            "allowed is a list of strings.",
            id="a string for a list",
        ),
        pytest.param(
            'packages = ["python3"]\n',
            "packages = [3]\n",
            "containers/images.toml: bases.debian.roots.runtime.packages: found 3, allowed is a string.",
            id="a number in a list of strings",
        ),
        pytest.param(
            'files = { "usr/bin/etcd" = "/usr/local/bin/etcd" }\n',
            'files = { "usr/bin/etcd" = 1 }\n',
            'containers/images.toml: bases.debian.programs.etcd.files."usr/bin/etcd": found 1, allowed is a string.',
            id="a number in a table of strings",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            "[bases.debian]\nroots = 1\n[bases.unused.roots.runtime]\n",
            "containers/images.toml is not valid TOML",
            id="a table twice",
        ),
        pytest.param(
            'stages = ["runtime"]\n',
            'stages = ["runtme"]\n',
            "containers/images.toml: images.small.stages: found 'runtme', "
            'allowed is one of "backend", "base", "ci", "dev", "runtime".',
            id="an unknown stage",
        ),
        pytest.param(
            'platforms = ["linux/amd64"]\n',
            'platforms = ["linux/amd65"]\n',
            "containers/images.toml: images.small.platforms: found 'linux/amd65', "
            'allowed is one of "linux/amd64", "linux/arm64".',
            id="an unknown platform",
        ),
        pytest.param(
            'bases = ["debian"]\nplatforms = ["linux/amd64"]\n',
            'bases = ["debain"]\nplatforms = ["linux/amd64"]\n',
            'containers/images.toml: images.small.bases: found "debain", allowed is one of "debian".',
            id="bases that do not exist",
        ),
        pytest.param(
            "[images.small]\n", "[images.small\n", "containers/images.toml is not valid TOML: ", id="invalid TOML"
        ),
    ],
)
def test_what_images_toml_may_not_say_is_refused_by_name(checkout: Path, old: str, new: str, message: str) -> None:
    edit(checkout, IMAGES_FILE, old, new)
    with pytest.raises(UsageError) as caught:
        load_catalogue(checkout)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("\nEdit containers/images.toml and run again.")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "epoch = 1700000000\n",
            "",
            "containers/pins.toml: epoch is missing (seconds since 1970, from 0 to 4102444799 (the end of 2099)).",
            id="no epoch",
        ),
        pytest.param(
            "epoch = 1700000000\n",
            "epoch = 1700000000\nepochs = 1\n",
            "containers/pins.toml: epochs: unknown key (choose from: epoch, programs, roots, sources).",
            id="an unknown key",
        ),
        pytest.param(
            f'sha256 = "{"8" * 64}"\n',
            f'sha265 = "{"8" * 64}"\n',
            "containers/pins.toml: programs.debian.etcd.linux/arm64.sha256 is missing "
            "(a sha256: 64 hexadecimal digits, in lower case).",
            id="a misspelt key of a program",
        ),
        pytest.param(
            '[programs.debian.etcd."linux/arm64"]\n',
            '[programs.debian.etcd."linux/riscv64"]\n',
            'containers/pins.toml: programs.debian.etcd.linux/riscv64: found "linux/riscv64", '
            'allowed is one of "linux/amd64", "linux/arm64".',
            id="a program of an unknown platform",
        ),
        pytest.param(
            f'"linux/arm64" = "sha256:{"6" * 64}"\n',
            f'"linux/arm46" = "sha256:{"6" * 64}"\n',
            'containers/pins.toml: roots.debian.runtime: found "linux/arm46", '
            'allowed is one of "linux/amd64", "linux/arm64".',
            id="a root image of an unknown platform",
        ),
        pytest.param(
            f'index = "sha256:{"4" * 64}"\n',
            "",
            "containers/pins.toml: roots.debian.runtime.index is missing "
            '(a digest: "sha256:" and 64 hexadecimal digits, in lower case).',
            id="a root image without its index",
        ),
        pytest.param(
            'archive = "debian"\npath = "pool/main/e/etcd/etcd-server_3.5.16-4_arm64.deb"\n',
            'archive = "debian"\nurl = "https://example.invalid/a"\n',
            "containers/pins.toml: programs.debian.etcd.linux/arm64 has both url and archive; "
            "only one of them is allowed.",
            id="a program of two kinds",
        ),
        pytest.param(
            "epoch = 1700000000\n",
            'epoch = 1700000000\n[sources.dynamo]\nref = "v1"\n',
            "containers/pins.toml: sources.dynamo.commit is missing "
            "(a git commit: 40 hexadecimal digits, in lower case).",
            id="a source without its commit",
        ),
    ],
)
def test_what_pins_toml_may_not_say_is_refused_by_name(checkout: Path, old: str, new: str, message: str) -> None:
    edit(checkout, PINS_FILE, old, new)
    with pytest.raises(LockError) as caught:
        load_pins(checkout)
    assert str(caught.value) == (
        f"{message}\n"
        "`invoke lock` writes this file. Restore it with: git checkout containers/pins.toml\n"
        "Or delete it, and pin the current version of every input with: invoke lock"
    )


@pytest.mark.parametrize(
    ("bases", "role", "platform"),
    [
        pytest.param("cuda", "runtime", Platform.AMD64, id="other bases"),
        pytest.param("debian", "devel", Platform.AMD64, id="another role"),
        pytest.param("debian", "runtime", Platform.ARM64, id="another platform"),
    ],
)
def test_a_root_image_without_a_pin_says_how_to_pin_it(
    checkout: Path, bases: str, role: str, platform: Platform
) -> None:
    edit(checkout, PINS_FILE, f'"linux/arm64" = "sha256:{"6" * 64}"\n', "")
    with pytest.raises(LockError) as caught:
        load_catalogue(checkout).pins.root(bases, role, platform)
    assert str(caught.value) == (
        f"containers/pins.toml has no roots.{bases}.{role} for {platform.value}.\nPin it with: invoke lock"
    )


def test_a_checkout_without_images_toml_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_catalogue(tmp_path)
    assert str(caught.value) == (
        f"containers/images.toml does not exist below {tmp_path}.\nCheck that the checkout is complete with: git status"
    )


def test_without_pins_the_message_is_to_make_them(checkout: Path) -> None:
    (checkout / PINS_FILE).unlink()
    catalogue = load_catalogue(checkout)
    with pytest.raises(LockError) as caught:
        _ = catalogue.pins
    assert (
        str(caught.value) == "containers/pins.toml does not exist: nothing is pinned yet.\nCreate it with: invoke lock"
    )


def test_a_file_that_is_no_text_is_refused(checkout: Path) -> None:
    (checkout / IMAGES_FILE).write_bytes(b'title = "\xff"\n')
    with pytest.raises(UsageError, match=r"^containers/images\.toml is not UTF-8 text: line 1 has the byte 0xff\."):
        load_catalogue(checkout)


def test_a_platform_is_named_in_every_vocabulary() -> None:
    names = [(platform.arch, platform.machine, platform.elf_machine) for platform in (Platform.AMD64, Platform.ARM64)]
    assert names == [("amd64", "x86_64", 62), ("arm64", "aarch64", 183)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            HEAD_OF_SMALL,
            f'{HEAD_OF_SMALL}keeps = {{ "usr/bin/ninja" = "kernels" }}\n',
            'images.small: unknown key "keeps"; it is called "allow-build-tools" now',
            id="keeps",
        ),
        pytest.param(
            HEAD_OF_SMALL,
            f"{HEAD_OF_SMALL}lacks = {{}}\n",
            'images.small: unknown key "lacks"; it is called "missing-libraries" now',
            id="lacks",
        ),
        pytest.param(
            HEAD_OF_SMALL,
            f'{HEAD_OF_SMALL}shares = "common"\n',
            'images.small: unknown key "shares"; it is called "common-layer" now',
            id="shares",
        ),
        pytest.param(
            HEAD_OF_SMALL,
            f'{HEAD_OF_SMALL}way = "wheels"\n',
            'images.small: unknown key "way"; it is called "install-from" now',
            id="way",
        ),
        pytest.param(
            HEAD_OF_SMALL,
            f"{HEAD_OF_SMALL}pieces = {{}}\n",
            'images.small: unknown key "pieces"; it is called "package-layers" now',
            id="pieces",
        ),
        pytest.param(
            HEAD_OF_SMALL,
            f"{HEAD_OF_SMALL}compiles = {{}}\n",
            'images.small: unknown key "compiles"; it is called "compile-from-source" now',
            id="compiles",
        ),
        pytest.param(
            "cooldown-days = 7\n",
            "cooldown-days = 7\nleft-out = {}\n",
            'lock: unknown key "left-out"; it is called "excluded" now',
            id="left-out",
        ),
        pytest.param(
            "cooldown-days = 7\n",
            "cooldown-days = 7\nshared = {}\n",
            'lock: unknown key "shared"; it is called "common-layers" now',
            id="shared",
        ),
        pytest.param(
            "cooldown-days = 7\n",
            "cooldown-days = 7\ncommon-layers = { common = { must-be-alike = [] } }\n",
            'lock.common-layers.common: unknown key "must-be-alike"; it is called "same-version" now',
            id="must-be-alike",
        ),
        pytest.param(
            "version-package = ",
            "version-of = ",
            'project: unknown key "version-of"; it is called "version-package" now',
            id="version-of",
        ),
        pytest.param(
            ETCD_ROW,
            f'{COMPILER}on = "runtime"\npackages = ["g++"]\n{ETCD_ROW}',
            'bases.debian.packages.compiler: unknown key "on"; it is called "root" now',
            id="on",
        ),
        pytest.param(
            "[bases.debian.roots.runtime]\n",
            "[bases.debian.sources]\n[bases.debian.roots.runtime]\n",
            'bases.debian: unknown key "sources"; it is called "deb-sources" now',
            id="sources of bases",
        ),
    ],
)
def test_a_key_of_an_earlier_version_is_refused_with_its_name_now(
    checkout: Path, old: str, new: str, message: str
) -> None:
    file = checkout / IMAGES_FILE
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_catalogue(checkout)
    assert str(caught.value).splitlines()[0] == f"{IMAGES_FILE}: {message}"
