"""Which build caches a request has, from words and rows; none of their names depends on a commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import bake, caches
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import Part, request_for

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.caches import CacheRows
    from dynamo_containers.plan.request import BuildInputs, Request

PLACE = "registry.example:5000/team/cache"


def frontend(catalogue: Catalogue, *platforms: str, stage: Stage = Stage.RUNTIME) -> Request:
    return request_for(catalogue, stage, ImageSelection(images=["frontend"], platforms=platforms or ["linux/amd64"]))


def rows(tmp_path: Path, text: str) -> CacheRows:
    file = tmp_path / "caches.toml"
    file.write_text(text, encoding="utf-8")
    return caches.load({caches.VARIABLE: str(file)})


def test_without_a_word_and_a_file_nothing_is_read_and_nothing_written(catalogue: Catalogue, tmp_path: Path) -> None:
    known = caches.load({"XDG_CONFIG_HOME": str(tmp_path)})
    assert caches.caches_for(frontend(catalogue), known) == caches.Caches()


def test_a_cache_is_named_by_image_stage_bases_and_platforms(catalogue: Catalogue) -> None:
    found = caches.caches_for(frontend(catalogue), caches.CacheRows(), [PLACE], PLACE)
    assert [cache.reference for cache in found.read] == [
        f"{PLACE}:frontend-runtime-debian-amd64",
        f"{PLACE}:frontend-runtime-debian-amd64-arm64",
    ]
    assert found.write["frontend"].target == (
        f"type=registry,ref={PLACE}:frontend-runtime-debian-amd64,mode=max,compression=zstd,compression-level=1,"
        "force-compression=true,ignore-error=true"
    )


def test_the_caches_of_lower_stages_and_of_one_platform_are_read_too(catalogue: Catalogue) -> None:
    found = caches.caches_for(frontend(catalogue, "all", stage=Stage.CI), caches.CacheRows(), [PLACE])
    assert [cache.name for cache in found.read] == [
        "frontend-ci-debian-amd64-arm64",
        "frontend-ci-debian-amd64",
        "frontend-ci-debian-arm64",
        "frontend-runtime-debian-amd64-arm64",
        "frontend-runtime-debian-amd64",
        "frontend-runtime-debian-arm64",
    ]


def test_a_folder_is_a_cache_too(catalogue: Catalogue) -> None:
    found = caches.caches_for(frontend(catalogue), caches.CacheRows(), ["/srv/cache"], "./mine")
    name = "frontend-runtime-debian-amd64"
    assert found.read[0].source == f"type=local,src=/srv/cache/{name}"
    assert found.write["frontend"].target.startswith(f"type=local,dest={Path.cwd()}/mine/{name},mode=max,")
    assert caches.access_flags(found) == ("--allow=fs.read=/srv/cache", f"--allow=fs.write={Path.cwd()}/mine")


ROWS = """
from = ["everywhere.example/cache"]
to = "everywhere.example/cache"

[images.frontend]
from = ["frontend.example/cache", "/srv/cache"]

[images.frontend."linux/arm64"]
from = ["arm.example/cache"]
to = "arm.example/cache"
"""


@pytest.mark.parametrize(
    ("image", "platform", "read"),
    [
        ("small", "linux/amd64", ["everywhere.example/cache"]),
        ("frontend", "linux/amd64", ["frontend.example/cache", "/srv/cache"]),
        ("frontend", "linux/arm64", ["arm.example/cache"]),
    ],
)
def test_the_nearest_row_says_where_caches_are_read(
    catalogue: Catalogue, tmp_path: Path, image: str, platform: str, read: list[str]
) -> None:
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=[image], platforms=[platform]))
    found = caches.caches_for(request, rows(tmp_path, ROWS))
    assert list(dict.fromkeys(cache.place for cache in found.read)) == read
    assert found.write == {}, "a row alone writes nothing"


def test_a_cache_is_written_where_a_row_says_only_when_that_is_asked_for(catalogue: Catalogue, tmp_path: Path) -> None:
    known = rows(tmp_path, ROWS)
    one = caches.caches_for(frontend(catalogue), known, write=caches.BY_ROW)
    other = caches.caches_for(frontend(catalogue, "linux/arm64"), known, write=caches.BY_ROW)
    assert one.write["frontend"].place == "everywhere.example/cache"
    assert other.write["frontend"].place == "arm.example/cache"


def test_a_word_takes_the_place_of_the_rows_and_none_reads_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    known = rows(tmp_path, ROWS)
    assert {cache.place for cache in caches.caches_for(frontend(catalogue), known, [PLACE]).read} == {PLACE}
    assert caches.caches_for(frontend(catalogue), known, ["none"]).read == ()


@pytest.mark.parametrize(
    "word",
    ["cache", "registry.example/cache:tag", "https://registry.example/cache", "user@registry.example/cache", "A/b"],
)
def test_a_word_that_is_no_place_is_refused(catalogue: Catalogue, word: str) -> None:
    with pytest.raises(UsageError, match="is no place for a build cache"):
        caches.caches_for(frontend(catalogue), caches.CacheRows(), [word])


def test_no_row_and_rows_that_differ_say_what_to_name(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rows of caches.toml say none"):
        caches.caches_for(frontend(catalogue), caches.CacheRows(), write=caches.BY_ROW)
    with pytest.raises(UsageError, match="differ for its platforms: build one at a time"):
        caches.caches_for(frontend(catalogue, "all"), rows(tmp_path, ROWS), write=caches.BY_ROW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("form = []", "form: unknown key"),
        ('from = ["cache"]', 'caches.toml: from: found "cache"'),
        ('[images.vllm]\nto = "a/b:c"', 'caches.toml: images.vllm.to: found "a/b:c"'),
        ('[images.vllm."linux/riscv64"]\nto = "a/b"', "images.vllm.linux/riscv64: unknown key"),
    ],
)
def test_a_wrong_row_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows(tmp_path, text)


def test_no_name_of_a_cache_changes_with_the_commit(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = frontend(catalogue)
    found = caches.caches_for(request, caches.CacheRows(), [PLACE], PLACE)
    documents = [
        caches.with_caches(bake.bake_graph(Part(request, each)).targets, {"frontend": "frontend-runtime"}, found)
        for each in (facts, replace(facts, revision="f" * 40))
    ]
    one, other = ({name: target.document() for name, target in targets.items()} for targets in documents)
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {"frontend-runtime"}
    labels = [each["frontend-runtime"].pop("labels") for each in (one, other)]
    assert one == other, "all but the labels of the image, which are no step"
    assert labels[0] != labels[1]


def test_every_step_reads_and_the_image_alone_writes(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = frontend(catalogue)
    found = caches.caches_for(request, caches.CacheRows(), [PLACE], PLACE)
    targets = bake.bake_graph(Part(request, facts)).targets
    steps = caches.with_caches(targets, {"frontend": "frontend-runtime"}, found)
    assert all(len(step.cache_from) == len(found.read) for step in steps.values())
    assert [name for name, step in steps.items() if step.cache_to] == ["frontend-runtime"]
