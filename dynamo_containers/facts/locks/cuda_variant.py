"""Check that locked Python packages are for the CUDA major of the bases, by their name or local version.

`nvidia-cublas-cu12`, `cupy-cuda12x`, `jax-cuda12-plugin`, `torch==2.11.0+cu128`: `cu` or `cuda` with the major
and maybe more. Libraries of two majors in one process break it (vllm-project/vllm issue 30628), and each is gigabytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.requirements import COMMAND

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.python_lock import LockFile

CUDA_MAJOR = re.compile(r"(?:^|[-+.])cu(?:da)?(\d{2})\d?x?(?=[-.]|$)")
"""A major has two digits since CUDA 10; what may follow is a minor version (`cu128`) and an x (`cuda12x`)."""

PIN = re.compile(r"^([a-z0-9-]+)==([^ \\;\n]+)", re.MULTILINE)
"""Name and version of a pin, without its hashes: every build runs this on all its locks."""


def major_of(name: str, version: str) -> str:
    """Return the CUDA major that a package's name or version states, such as '12'; '' where it states none."""
    _, plus, local = version.partition("+")
    match = CUDA_MAJOR.search(name) or CUDA_MAJOR.search(plus + local)
    return match[1] if match else ""


def others(text: str, cuda: str, exempt: Collection[str]) -> tuple[tuple[str, str, str], ...]:
    """Return (package, version, major) of the pins that are for another CUDA major than `cuda`."""
    if not cuda:
        return ()
    pins = ((name, version, major_of(name, version)) for name, version in PIN.findall(text))
    return tuple(pin for pin in pins if pin[2] not in ("", cuda) and pin[0] not in exempt)


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
        for name, version, major in others(text, cuda, catalogue.cuda_exempt)
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
        if lock.target.bases in catalogue.bases and (folder / lock.path).is_file():
            text = (folder / lock.path).read_text(encoding="utf-8")
            texts.setdefault(lock.target.bases, {})[lock.path] = text
    return tuple(fault for bases, locked in texts.items() for fault in faults(catalogue, locked, bases))
