"""Files that other programs read at the top of the checkout: they name what exists."""

from __future__ import annotations

import json
import re
from typing import Any

from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, Stage, load_catalogue
from dynamo_containers.facts.locks import requirements
from dynamo_containers.plan import bake
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for


def renovate() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))
    return content


def test_the_devcontainer_names_the_dev_image_of_the_locked_version() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    content = json.loads(re.sub(r"^//.*$", "", text, flags=re.MULTILINE))
    lock = (ROOT / "constraints/base-debian-amd64.txt").read_text(encoding="utf-8")
    (version,) = (package.version for package in requirements.read(lock) if package.name == "ai-dynamo")
    request = request_for(load_catalogue(), Stage.DEV, ImageSelection(images=["frontend"], platforms=["linux/amd64"]))
    assert content["image"] == bake.tag(request.images[0], Stage.DEV, request.bases, request.platforms, version)


def test_renovate_sees_every_requirements_file() -> None:
    (pattern,) = renovate()["pip_requirements"]["managerFilePatterns"]
    files = [f"requirements/{file.name}" for file in (ROOT / "requirements").iterdir()]
    assert files
    assert [file for file in files if not re.search(pattern.strip("/"), file)] == []


def test_renovate_finds_sources_archives_and_images() -> None:
    text = (ROOT / IMAGES_FILE).read_text(encoding="utf-8")
    names = set()
    for manager in renovate()["customManagers"]:
        (pattern,) = manager["matchStrings"]
        matches = re.finditer(re.sub(r"\(\?<(\w+)>", r"(?P<\1>", pattern), text)
        names |= {match["depName"] for match in matches}
    assert names >= {"ai-dynamo/dynamo", "ai-dynamo/nixl", "nats-io/nats-server", "etcd-io/etcd", "nvcr.io/nvidia/cuda"}


def test_pre_commit_has_local_hooks_alone() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (.*)", text) == ["local"]
    entries = re.findall(r"entry: (.*)", text)
    assert entries
    assert [entry for entry in entries if not entry.startswith("./with-tools ")] == []


def test_every_path_of_codeowners_exists() -> None:
    text = (ROOT / "CODEOWNERS").read_text(encoding="utf-8")
    patterns = re.findall(r"^#? ?/(\S+)", text, re.MULTILINE)
    assert patterns
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern.rstrip("/")))] == []
