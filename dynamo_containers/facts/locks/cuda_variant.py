"""Whether a locked Python package is for another CUDA major than the bases, by its name or local version.

`nvidia-cublas-cu12`, `cupy-cuda12x`, `jax-cuda12-plugin`, `torch==2.11.0+cu128`: a word `cu` or `cuda` with the major
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

WORD = re.compile(r"(?:^|[-+.])cu(?:da)?(\d{2})\d?x?(?=[-.]|$)")
"""A major has two digits since CUDA 10; what may follow is a minor version (`cu128`) and an x (`cuda12x`)."""

PIN = re.compile(r"^([a-z0-9-]+)==([^ \\;\n]+)", re.MULTILINE)
"""A pin's name and version alone: a build asks all its locks, whose hashes were read before."""


def major_of(name: str, version: str) -> str:
    """Return the CUDA major that a package is for as far as it says so, '12'; '' where it does not."""
    _, plus, local = version.partition("+")
    found = WORD.search(name) or WORD.search(plus + local)
    return found[1] if found else ""


def others(text: str, cuda: str, exempt: Collection[str]) -> tuple[tuple[str, str, str], ...]:
    """Return (package, version, major) of what a lock pins that is for another major than `cuda`."""
    if not cuda:
        return ()
    pins = ((name, version, major_of(name, version)) for name, version in PIN.findall(text))
    return tuple(pin for pin in pins if pin[2] not in ("", cuda) and pin[0] not in exempt)


def faults(catalogue: Catalogue, texts: Mapping[str, str], bases: str) -> tuple[str, ...]:
    """Return one message about all packages of another CUDA major in some locks of a set of bases; none when all fit.

    Args:
        catalogue: what the data say.
        texts: path -> text of each lock.
        bases: the name of the bases.
    """
    cuda = catalogue.bases[bases].cuda
    found = [
        f"{path} pins {name}=={version}, which is for CUDA {major}; required by {_via(text, name)}."
        for path, text in texts.items()
        for name, version, major in others(text, cuda, catalogue.cuda_exempt)
    ]
    if not found:
        return ()
    remedy = (
        f"The {bases} bases are of CUDA {cuda}. Require what is built for it (requirements/), or name the package in "
        f"{IMAGES_FILE} with a reason: under [lock.excluded], so that no image has it, or under [lock.cuda-exempt].\n"
        f"Then run: {COMMAND}"
    )
    return ("\n".join([*found, remedy]),)


def _via(text: str, name: str) -> str:
    from dynamo_containers.facts.locks import python_common  # what only a message needs would make every no-op slower

    return ", ".join(python_common.parse(text).entries[name].via) or "nobody that the lock names"


def faults_of(catalogue: Catalogue, locks: Iterable[LockFile], folder: Path) -> tuple[str, ...]:
    """Return a message for each set of bases that has locks with a package of another CUDA major."""
    texts: dict[str, dict[str, str]] = {}
    for lock in locks:
        if lock.target.bases in catalogue.bases and (folder / lock.path).is_file():
            text = (folder / lock.path).read_text(encoding="utf-8")
            texts.setdefault(lock.target.bases, {})[lock.path] = text
    return tuple(fault for bases, found in texts.items() for fault in faults(catalogue, found, bases))
