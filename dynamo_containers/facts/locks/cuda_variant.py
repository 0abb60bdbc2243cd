"""Check that locked Python packages are for the CUDA major of the bases, by their name, local version or version.

`nvidia-cublas-cu12`, `cupy-cuda12x`, `jax-cuda12-plugin`, `torch==2.11.0+cu128`: `cu` or `cuda` with the major
and maybe more. A local version may have it anywhere: `flash-attn==2.8.3+cu12torch2.8cxx11abitrue`. Some packages have
CUDA's own version (`cuda-python==12.9.4`); which these are is data, `[lock.cuda-versioned]`, because others look alike
and are not (`nvidia-cusparse` 12.6 is of CUDA 13). Libraries of two majors in one process break it (vllm-project/vllm
issue 30628), and each is gigabytes.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.requirements import COMMAND, readable_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_lock import LockFile

IN_NAME = re.compile(r"(?:^|[-.])cu(?:da)?(\d{2})\d?x?(?=[-.]|$)")
"""A major has two digits since CUDA 10; what may follow is a minor version (`cu128`) and an x (`cuda12x`)."""
IN_LOCAL_VERSION = re.compile(r"(?<![a-z])cu(?:da)?[-_.]?(\d{2})")
"""`cu128`, `cuda12.4`, `cu12torch2.8cxx11abitrue`, `torch28cu126`: not after a letter, and followed by anything."""
RELEASE = re.compile(r"(?:\d+!)?(\d+)")
"""The first number of a version, after its epoch."""

PIN = re.compile(r"^([a-z0-9-]+)==([^ \\;\n]+)", re.MULTILINE)
"""Name and version of a pin, without its hashes: every build runs this on all its locks."""


def major_of(name: str, version: str, versioned: re.Pattern[str]) -> str:
    """Return the CUDA major that a package's name or version states, such as '12'; '' where it states none.

    Args:
        name: the normalized name.
        version: the version, with its local part.
        versioned: matches the names of packages whose version is CUDA's.
    """
    public, _, local = version.partition("+")
    match = IN_NAME.search(name) or IN_LOCAL_VERSION.search(local)
    if not match and versioned.fullmatch(name):
        match = RELEASE.match(public)
    return match[1] if match else ""


def versioned_names(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return what matches a name that one of the patterns fits; nothing where there is none."""
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


def others(text: str, cuda: str, catalogue: Catalogue) -> tuple[tuple[str, str, str], ...]:
    """Return (package, version, major) of the pins that are for another CUDA major than `cuda`."""
    if not cuda:
        return ()
    versioned = versioned_names(catalogue.cuda_versioned)
    pins = ((name, version, major_of(name, version, versioned)) for name, version in PIN.findall(text))
    return tuple(pin for pin in pins if pin[2] not in ("", cuda) and pin[0] not in catalogue.cuda_exempt)


def faults(catalogue: Catalogue, texts: Mapping[str, str], bases: str) -> tuple[str, ...]:
    """Return one message about the packages of another CUDA major in locks of a set of bases; none when there are none.

    Args:
        catalogue: the data files.
        texts: path -> text of each lock.
        bases: the name of the bases.
    """
    cuda = catalogue.bases[bases].cuda
    lines = [
        f"{path} pins {name}=={version}, which is for CUDA {major}; required by {_requirers(text, name)}."
        for path, text in texts.items()
        for name, version, major in others(text, cuda, catalogue)
    ]
    if not lines:
        return ()
    remedy = (
        f"The {bases} bases have CUDA {cuda}. Require packages for it (requirements/), or name the package in "
        f"{IMAGES_FILE} with a reason: under [lock.excluded], so that no image has it, or under [lock.cuda-exempt].\n"
        f"Then run: {COMMAND}"
    )
    return ("\n".join([*lines, remedy]),)


def _requirers(text: str, name: str) -> str:
    from dynamo_containers.facts.locks import (
        python_common,  # only a message needs it, and it would slow down every no-op
    )

    return ", ".join(python_common.parse(text).entries[name].via) or "no package of the lock"


def faults_of(catalogue: Catalogue, locks: Iterable[LockFile], folder: Path) -> tuple[str, ...]:
    """Return a message for each set of bases that has locks with a package of another CUDA major."""
    texts: dict[str, dict[str, str]] = {}
    for lock in locks:
        if lock.target.bases in catalogue.bases:
            texts.setdefault(lock.target.bases, {}).update(readable_files(folder, [lock.path]))
    return tuple(fault for bases, locked in texts.items() for fault in faults(catalogue, locked, bases))
