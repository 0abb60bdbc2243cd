"""Source policies: the sources that BuildKit may use, from the pins."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.facts.mirrors import Mirrors
from dynamo_containers.facts.pins import PINS_FILE, load_pins
from dynamo_containers.plan import source_policy
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from tests.unit import planned

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs

MIRRORS = Mirrors(
    registries={"quay.io": "mirror.example:5000/quay"}, addresses={"https://github.com/": "https://mirror.example/gh/"}
)
DIGEST = "sha256:" + "1" * 64
SHA256 = "2" * 64
COMMIT = "3" * 40
CUDA = """
[bases.cuda]
description = "of registries"
strict = true
python = "3.12"
interpreter = "/usr/bin/python3"
glibc = "2.39"

[bases.cuda.roots.builder]
image = "quay.io/pypa/manylinux_2_28_{machine}:1"

[bases.cuda.programs.etcd]
version = "3.5"
url = "https://github.com/etcd-{arch}.tar.gz"
files = { "etcd" = "/usr/local/bin/etcd" }

[sources.nixl]
git = "https://github.com/ai-dynamo/nixl"
ref = "1"
"""
PINS = f"""
[roots.cuda.builder]
image = "quay.io/pypa/manylinux_2_28_{{machine}}:1"
"linux/amd64" = "{DIGEST}"

[programs.cuda.etcd."linux/amd64"]
version = "3.5"
url = "https://github.com/etcd-amd64.tar.gz"
sha256 = "{SHA256}"

[sources.nixl]
ref = "1"
commit = "{COMMIT}"
"""


@pytest.fixture
def cuda(catalogue: Catalogue) -> Catalogue:
    """Return the small checkout with bases of a registry and a source."""
    images = catalogue.folder / IMAGES_FILE
    text = images.read_text(encoding="utf-8").replace('bases = ["debian"]', 'bases = ["debian", "cuda"]')
    images.write_text(text + CUDA, encoding="utf-8")
    with (catalogue.folder / PINS_FILE).open("a", encoding="utf-8") as file:
        file.write(PINS)
    load_pins(catalogue.folder)
    return load_catalogue(catalogue.folder)


def rule(action: str, identifier: str, kind: str = "EXACT", **selector: object) -> dict[str, Any]:
    return {"action": action, "selector": {"identifier": identifier, "matchType": kind, **selector}}


CHECKED = [{"key": "http.checksum", "value": f"sha256:{SHA256}", "condition": "EQUAL"}]
LOCAL = [rule("DENY", "*", "WILDCARD"), rule("ALLOW", "local://*", "WILDCARD")]


def policy_of(
    catalogue: Catalogue, facts: BuildInputs, bases: str, mirrors: Mirrors, *, strict: bool = False
) -> dict[str, Any]:
    selection = ImageSelection(platforms=["linux/amd64"], bases=bases, strict=strict)
    request = request_for(catalogue, Stage.BASE, selection)
    return source_policy.policy(request, replace(facts, mirrors=mirrors))


def test_strict_bases_allow_pinned_sources_and_folders_alone(cuda: Catalogue, facts: BuildInputs) -> None:
    policy = policy_of(cuda, replace(facts, roots={}), "cuda", Mirrors())
    assert policy["rules"] == [
        *LOCAL,
        rule("ALLOW", f"docker-image://quay.io/pypa/manylinux_2_28_x86_64@{DIGEST}"),
        rule("ALLOW", "https://github.com/etcd-amd64.tar.gz", constraints=CHECKED),
        rule("ALLOW", f"git://github.com/ai-dynamo/nixl#{COMMIT}"),
    ]


def test_a_mirror_replaces_the_address_of_a_source_and_keeps_its_digest(cuda: Catalogue, facts: BuildInputs) -> None:
    policy = policy_of(cuda, replace(facts, roots={}), "cuda", MIRRORS)
    public, mirror = "quay.io/pypa", "mirror.example:5000/quay/pypa"
    image = f"docker-image://{mirror}/manylinux_2_28_x86_64@{DIGEST}"
    archive = "https://mirror.example/gh/etcd-amd64.tar.gz"
    git = f"git://mirror.example/gh/ai-dynamo/nixl#{COMMIT}"
    attrs = {"git.fullurl": "https://mirror.example/gh/ai-dynamo/nixl"}
    assert policy["rules"] == [
        *LOCAL,
        rule("CONVERT", f"docker-image://{public}/manylinux_2_28_x86_64@{DIGEST}") | {"updates": {"identifier": image}},
        rule("ALLOW", image),
        rule("CONVERT", "https://github.com/etcd-amd64.tar.gz", constraints=CHECKED)
        | {"updates": {"identifier": archive}},
        rule("ALLOW", archive, constraints=CHECKED),
        rule("CONVERT", f"git://github.com/ai-dynamo/nixl#{COMMIT}") | {"updates": {"identifier": git, "attrs": attrs}},
        rule("ALLOW", git),
    ]


def test_bases_that_are_not_strict_have_no_policy(cuda: Catalogue, facts: BuildInputs) -> None:
    assert policy_of(cuda, facts, "debian", Mirrors()) == {}


def test_bases_that_are_not_strict_only_use_the_mirrors(cuda: Catalogue, facts: BuildInputs) -> None:
    actions = {rule["action"] for rule in policy_of(cuda, facts, "debian", MIRRORS)["rules"]}
    assert actions == {"CONVERT"}


def test_a_strict_build_allows_the_root_images_of_this_machine_by_digest(cuda: Catalogue, facts: BuildInputs) -> None:
    policy = policy_of(cuda, facts, "debian", Mirrors(), strict=True)
    digests = [f"sha256:{digit * 64}" for digit in "78de"]
    assert policy["rules"][:6] == [
        *LOCAL,
        *(rule("ALLOW", f"oci-layout://*@{digest}", "WILDCARD") for digest in digests),
    ]


def test_a_strict_build_allows_the_commit_of_the_command_line(cuda: Catalogue, facts: BuildInputs) -> None:
    git = f"https://git.example/fork.git#{COMMIT}"
    request = request_for(
        cuda, Stage.BASE, ImageSelection(platforms=["linux/amd64"], strict=True, sources={"dynamo": git})
    )
    rules = source_policy.policy(request, facts)["rules"]
    assert rule("ALLOW", f"git://git.example/fork.git#{COMMIT}") in rules
    assert rules[0] == rule("DENY", "*", "WILDCARD")


def test_the_plan_has_the_policy_and_a_variable_that_names_it(cuda: Catalogue, facts: BuildInputs) -> None:
    request = request_for(cuda, Stage.BASE, ImageSelection(platforms=["linux/amd64"], bases="cuda"))
    plan = planned.execution(request, facts)
    bake, policy = plan.documents
    assert policy.path == cuda.folder / ".build/policy-bake-base-base-cuda-amd64.json"
    assert json.loads(policy.text)["rules"][0] == rule("DENY", "*", "WILDCARD")
    (command,) = plan.commands
    assert command.env["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] == str(policy.path)
    assert "Where it says `denied by policy`" in command.hint
    assert "mirror" not in bake.text
