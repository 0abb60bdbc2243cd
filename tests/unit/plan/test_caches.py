"""Build caches of a request; none of their names depends on a commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import bake, caches
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for

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


def test_without_options_and_a_file_no_cache_is_read_or_written(catalogue: Catalogue, tmp_path: Path) -> None:
    cache_rows = caches.load({"XDG_CONFIG_HOME": str(tmp_path)})
    assert caches.caches_for(frontend(catalogue), cache_rows) == caches.Caches()


def test_a_cache_is_named_by_image_stage_bases_and_platforms(catalogue: Catalogue) -> None:
    selected = caches.caches_for(frontend(catalogue), caches.CacheRows(), [PLACE], PLACE)
    assert [cache.reference for cache in selected.read] == [
        f"{PLACE}:frontend-runtime-debian-amd64",
        f"{PLACE}:frontend-runtime-debian-amd64-arm64",
    ]
    assert selected.write["frontend"].target == (
        f"type=registry,ref={PLACE}:frontend-runtime-debian-amd64,mode=max,compression=zstd,compression-level=1,"
        "force-compression=true,ignore-error=true"
    )


def test_the_caches_of_lower_stages_and_of_one_platform_are_read_too(catalogue: Catalogue) -> None:
    selected = caches.caches_for(frontend(catalogue, "all", stage=Stage.CI), caches.CacheRows(), [PLACE])
    assert [cache.name for cache in selected.read] == [
        "frontend-ci-debian-amd64-arm64",
        "frontend-ci-debian-amd64",
        "frontend-ci-debian-arm64",
        "frontend-runtime-debian-amd64-arm64",
        "frontend-runtime-debian-amd64",
        "frontend-runtime-debian-arm64",
    ]


def test_a_folder_is_a_cache_too(catalogue: Catalogue) -> None:
    selected = caches.caches_for(frontend(catalogue), caches.CacheRows(), ["/srv/cache"], "./mine")
    name = "frontend-runtime-debian-amd64"
    assert selected.read[0].source == f"type=local,src=/srv/cache/{name}"
    assert selected.write["frontend"].target.startswith(f"type=local,dest={Path.cwd()}/mine/{name},mode=max,")
    assert caches.access_flags(selected) == ("--allow=fs.read=/srv/cache", f"--allow=fs.write={Path.cwd()}/mine")


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
def test_the_most_specific_row_states_where_caches_are_read(
    catalogue: Catalogue, tmp_path: Path, image: str, platform: str, read: list[str]
) -> None:
    request = request_for(catalogue, Stage.RUNTIME, ImageSelection(images=[image], platforms=[platform]))
    selected = caches.caches_for(request, rows(tmp_path, ROWS))
    assert list(dict.fromkeys(cache.place for cache in selected.read)) == read
    assert selected.write == {}, "a row alone writes nothing"


def test_a_cache_is_written_only_if_the_command_line_asks_for_it(catalogue: Catalogue, tmp_path: Path) -> None:
    cache_rows = rows(tmp_path, ROWS)
    amd64 = caches.caches_for(frontend(catalogue), cache_rows, write=caches.FROM_FILE)
    arm64 = caches.caches_for(frontend(catalogue, "linux/arm64"), cache_rows, write=caches.FROM_FILE)
    assert amd64.write["frontend"].place == "everywhere.example/cache"
    assert arm64.write["frontend"].place == "arm.example/cache"


def test_an_option_replaces_the_rows_and_none_reads_no_cache(catalogue: Catalogue, tmp_path: Path) -> None:
    cache_rows = rows(tmp_path, ROWS)
    assert {cache.place for cache in caches.caches_for(frontend(catalogue), cache_rows, [PLACE]).read} == {PLACE}
    assert caches.caches_for(frontend(catalogue), cache_rows, ["none"]).read == ()


@pytest.mark.parametrize(
    "place",
    ["cache", "registry.example/cache:tag", "https://registry.example/cache", "user@registry.example/cache", "A/b"],
)
def test_an_option_that_is_not_a_place_is_refused(catalogue: Catalogue, place: str) -> None:
    with pytest.raises(UsageError, match="is not a place for a build cache"):
        caches.caches_for(frontend(catalogue), caches.CacheRows(), [place])


def test_a_missing_place_and_places_that_differ_are_refused_with_a_remedy(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"caches[.]toml states no `to` for it[.]\n.*or add `to`"):
        caches.caches_for(frontend(catalogue), caches.CacheRows(), write=caches.FROM_FILE)
    with pytest.raises(UsageError, match=r"a different `to` for each platform[.]\n.*or build one platform at a time"):
        caches.caches_for(frontend(catalogue, "all"), rows(tmp_path, ROWS), write=caches.FROM_FILE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("form = []", "form: unknown key"),
        ('from = ["cache"]', "caches.toml: from: found 'cache'"),
        ('[images.vllm]\nto = "a/b:c"', "caches.toml: images.vllm.to: found 'a/b:c'"),
        ('[images.vllm."linux/riscv64"]\nto = "a/b"', 'images.vllm."linux/riscv64": unknown key'),
    ],
)
def test_a_wrong_row_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows(tmp_path, text)


def test_no_name_of_a_cache_changes_with_the_commit(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = frontend(catalogue)
    selected = caches.caches_for(request, caches.CacheRows(), [PLACE], PLACE)
    documents = [
        caches.with_caches(
            bake.bake_graph(BuildPart(request, inputs)).targets, {"frontend": "frontend-runtime"}, selected
        )
        for inputs in (facts, replace(facts, revision="f" * 40))
    ]
    before, after = ({name: target.document() for name, target in targets.items()} for targets in documents)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"frontend-runtime"}
    labels = [targets["frontend-runtime"].pop("labels") for targets in (before, after)]
    assert before == after, "all but the labels of the image, which are not steps"
    assert labels[0] != labels[1]


def test_every_step_reads_and_the_image_alone_writes(catalogue: Catalogue, facts: BuildInputs) -> None:
    request = frontend(catalogue)
    selected = caches.caches_for(request, caches.CacheRows(), [PLACE], PLACE)
    targets = bake.bake_graph(BuildPart(request, facts)).targets
    steps = caches.with_caches(targets, {"frontend": "frontend-runtime"}, selected)
    assert all(len(step.cache_from) == len(selected.read) for step in steps.values())
    assert [name for name, step in steps.items() if step.cache_to] == ["frontend-runtime"]
