"""What buildx and git print, as values; tests/lock asks real ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UnreachableError
from dynamo_containers.platforms import Platform
from dynamo_containers.upstream import git, registry, unreachable
from dynamo_containers.upstream.registry import RegistryClient, RemoteImage

if TYPE_CHECKING:
    from pathlib import Path

A, B = "a" * 40, "b" * 40
DIGESTS = [f"sha256:{number}" for number in ("1" * 64, "2" * 64, "3" * 64)]
AMD64, ARM64 = ({"os": "linux", "architecture": arch} for arch in ("amd64", "arm64"))


def buildx(folder: Path, script: str) -> RegistryClient:
    """Return a stand-in for buildx."""
    program = folder / "buildx"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return RegistryClient(buildx=(str(program),), seconds=5)


def test_the_manifests_of_our_platforms_are_read_and_attestations_are_not() -> None:
    content = {
        "digest": DIGESTS[0],
        "manifests": [
            {"digest": DIGESTS[1], "platform": AMD64},
            {"digest": DIGESTS[2], "platform": {**ARM64, "variant": "v8"}},
            {"digest": "sha256:4", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:5", "platform": {"os": "linux", "architecture": "ppc64le"}},
            {"digest": "sha256:6"},
        ],
    }
    assert registry.parse(json.dumps(content)) == RemoteImage(
        digest=DIGESTS[0], platforms={Platform.AMD64: DIGESTS[1], Platform.ARM64: DIGESTS[2]}
    )


def test_an_image_of_one_platform_has_a_digest_and_no_manifests() -> None:
    content = {"digest": DIGESTS[0], "size": 7}
    assert registry.parse(json.dumps(content)) == RemoteImage(digest=DIGESTS[0], platforms={})


@pytest.mark.parametrize("answer", ["[]", "{}", "1", '{"digest": "../x"}', '{"digest": "sha256:1"}', "[" * 5000])
def test_an_answer_that_is_no_manifest_pins_nothing(answer: str, tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(answer, encoding="utf-8")
    with pytest.raises(UnreachableError, match="buildx did not return a manifest"):
        registry.inspect(buildx(tmp_path, f"cat {tmp_path}/answer"), "r/i:1")


def test_only_what_the_registry_says_is_not_there_is_not_there(tmp_path: Path) -> None:
    assert registry.inspect(buildx(tmp_path, 'echo "ERROR: $5: not found" >&2; exit 1'), "r/i:1") is None


@pytest.mark.parametrize(
    ("complaint", "reason"),
    [
        pytest.param(
            'WARN: old\\nERROR: failed to do request: Head "https://r/v2/": dial tcp: lookup r: no such host',
            "dial tcp: lookup r: no such host",
            id="no such host",
        ),
        pytest.param("ERROR: unexpected status: 401 Unauthorized", "unexpected status: 401 Unauthorized", id="401"),
        pytest.param("ERROR: buildx.conf: not found", "buildx.conf: not found", id="something else is not found"),
        pytest.param("", "no reason was given", id="nothing"),
    ],
)
def test_any_other_failure_is_nobody_reached_with_the_reason_in_one_line(
    tmp_path: Path, complaint: str, reason: str
) -> None:
    client = buildx(tmp_path, f"printf '{complaint}' >&2; exit 1")
    with pytest.raises(UnreachableError) as caught:
        registry.inspect(client, "r/i:1")
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("lines", "commit"),
    [
        pytest.param(f"{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}\n", B, id="an annotated tag is what it points at"),
        pytest.param(f"{A}\trefs/heads/v1\n{B}\trefs/tags/v1\n", B, id="a tag before a branch"),
        pytest.param(f"{A}\trefs/heads/fix/v1\n", "", id="a longer name is another"),
        pytest.param(f"{A}\trefs/heads/main\n", "", id="another name"),
        pytest.param("--upload-pack=x\trefs/tags/v1\n", "", id="what is no commit is none"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_commit_that_a_name_means(lines: str, commit: str) -> None:
    assert git.commit_of(lines, "v1") == commit


def test_an_old_pin_is_named_shortly_with_what_it_is_of() -> None:
    digests = (f"sha256:{'0' * 64}", f"sha256:{'1' * 64}")
    assert unreachable.old_pin(digests, "cuda:13") == "the old pin sha256:000000000000, sha256:111111111111 of cuda:13"
