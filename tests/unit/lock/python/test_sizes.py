"""What constraints/sizes.toml says, what it lacks, and what several locks download together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import download_sizes, python_lock
from dynamo_containers.facts.locks.download_sizes import SIZES_FILE, Sizes, Total, load, missing, read, render, total
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock.python import sizes as python_sizes_

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.locks.python_lock import LockFile

HASH = f" \\\n    --hash=sha256:{'a' * 64}\n"
FILE = """\
# WRITTEN BY `invoke lock`: the bytes that a target downloads for each locked Python package. Do not edit.

[base-debian-arm64]

[vllm-debian-amd64]
"numba==0.65.0" = 3744674
"torch==2.11.0+cu130" = 530604548

# The index states no size of these.
[unstated]
vllm-debian-amd64 = [
    "ray==2.60.0",
]
"""
SIZES = Sizes(
    stated={
        "vllm-debian-amd64": {"torch==2.11.0+cu130": 530604548, "numba==0.65.0": 3744674},
        "base-debian-arm64": {},
    },
    unstated={"vllm-debian-amd64": ("ray==2.60.0",)},
)


def lock_of(*pins: str) -> str:
    return "".join(pin + HASH for pin in pins)


def own(path: str) -> LockFile:
    return next(lock for lock in python_lock.locks(load_catalogue()) if lock.path == path)


def leave(folder: Path, text: str) -> None:
    (folder / "constraints").mkdir(exist_ok=True)
    (folder / SIZES_FILE).write_text(text, encoding="utf-8")


def test_the_file_is_sorted_has_a_line_for_each_pin_and_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert render(SIZES) == FILE
    leave(tmp_path, FILE)
    assert load(tmp_path) == SIZES
    assert read(tmp_path) == SIZES.stated


def test_there_is_no_word_of_unstated_sizes_where_all_are_stated() -> None:
    text = render(Sizes(stated={"a": {"x==1": 2}}, unstated={"a": ()}))
    assert text.splitlines()[1:] == ["", "[a]", '"x==1" = 2']


def test_this_projects_own_file_is_as_the_tool_writes_it() -> None:
    assert (ROOT / SIZES_FILE).read_text(encoding="utf-8") == render(load(ROOT))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("<<<<<<< HEAD\n", f"{SIZES_FILE} is not valid TOML", id="half of a merge"),
        pytest.param('[a]\n"x==1" = "2"\n', f"{SIZES_FILE}: a.x==1: found '2', allowed is a whole number", id="a word"),
        pytest.param("a = 1\n", f"{SIZES_FILE}: a: found 1, allowed is a table", id="no table"),
        pytest.param("[unstated]\na = 1\n", f"{SIZES_FILE}: unstated.a: found 1", id="no list"),
    ],
)
def test_a_file_that_breaks_its_rules_says_what_to_run(tmp_path: Path, text: str, complaint: str) -> None:
    leave(tmp_path, text)
    with pytest.raises(LockError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(complaint)
    assert str(caught.value).endswith("It is not written by hand. Renew it with: invoke lock --only python")


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"sizes\.toml is missing\.\nMake it with: invoke lock --only python"):
        read(tmp_path)


def test_a_pin_without_a_size_or_with_that_of_another_version_is_missing() -> None:
    lock = own("constraints/vllm-debian-amd64.txt")
    text = lock_of("torch==2.11.0+cu130", "numba==0.65.1", "ray==2.60.0")
    assert missing(lock, SIZES.stated, text) == ("numba==0.65.1", "ray==2.60.0")
    assert missing(lock, {}, lock_of("numba==0.65.0")) == ("numba==0.65.0",)


def test_what_locks_download_together_counts_a_file_once_and_names_what_is_unknown() -> None:
    sizes = {"a": {"x==1": 10, "y==1": 100, "z==9": 5000}, "b": {"x==1": 10, "y==1": 101}}
    texts = {"constraints/a.txt": lock_of("x==1", "y==1", "w==1"), "constraints/b.txt": lock_of("x==1", "y==1")}
    assert total(texts, sizes) == Total(size=211, unknown=("w==1",))


def test_what_this_project_locks_for_vllm_has_a_known_total() -> None:
    paths = [f"constraints/{layer}-debian-amd64.txt" for layer in ("base", "common", "vllm")]
    found = total({path: (ROOT / path).read_text(encoding="utf-8") for path in paths}, read(ROOT))
    assert found.unknown == ()
    assert 1e9 < found.size < 20e9


# What `invoke lock --check` says


def check(folder: Path) -> str:
    from dynamo_containers.lock import selection

    return lock_check.check(load_catalogue(folder), ["python"], part=selection.Part(images=["vllm", "sglang"]))


def change(folder: Path, old: str, new: str) -> None:
    file = folder / SIZES_FILE
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_check_names_a_pin_that_has_the_size_of_another_version(own_checkout: Path) -> None:
    change(own_checkout, '"ai-dynamo==1.4.2"', '"ai-dynamo==1.4.1"')
    with pytest.raises(LockError) as caught:
        check(own_checkout)
    assert (
        f"{SIZES_FILE} has no size of ai-dynamo==1.4.2, which constraints/base-debian-arm64.txt pins and has "
        "ai-dynamo==1.4.1, which constraints/base-debian-arm64.txt does not pin.\n"
        "Renew it with: invoke lock --only python"
    ) in str(caught.value)


def test_the_check_counts_what_is_missing_beyond_a_few(own_checkout: Path) -> None:
    change(own_checkout, "[base-debian-arm64]", "[elsewhere]")
    said = r"no size of ai-dynamo==\S+, ai-dynamo-runtime==\S+, nixl==\S+ and 1 more, which constraints/base-debian-arm"
    with pytest.raises(LockError, match=said):
        check(own_checkout)


def test_the_check_accepts_that_an_index_states_no_size(own_checkout: Path) -> None:
    old = read(own_checkout)["base-debian-arm64"]["nixl==1.3.2"]
    sizes = load(own_checkout)
    stated = {name: dict(rows) for name, rows in sizes.stated.items()}
    assert stated["base-debian-arm64"].pop("nixl==1.3.2") == old
    leave(own_checkout, render(Sizes(stated=stated)))
    with pytest.raises(LockError, match=r"no size of nixl==1\.3\.2, which"):
        check(own_checkout)
    leave(own_checkout, render(Sizes(stated=stated, unstated={"base-debian-arm64": ("nixl==1.3.2",)})))
    assert check(own_checkout) == "Every lock fits what it is made from (python)."


def test_the_check_says_once_that_the_file_is_missing(own_checkout: Path) -> None:
    (own_checkout / SIZES_FILE).unlink()
    with pytest.raises(LockError) as caught:
        check(own_checkout)
    assert str(caught.value) == f"{SIZES_FILE} is missing.\nMake it with: invoke lock --only python"


# What is kept


def test_sizes_of_other_locks_stay_and_those_of_locks_that_are_gone_vanish() -> None:
    old = Sizes(
        stated={"mine": {"a==1": 1}, "other": {"a==1": 2}, "gone": {"a==1": 3}},
        unstated={"mine": ("b==1",), "other": ("c==1",), "gone": ("d==1",)},
    )
    assert python_sizes_.merged(old, {"mine": {"a==2": 4, "e==1": None}}, ["mine", "other"]) == Sizes(
        stated={"mine": {"a==2": 4}, "other": {"a==1": 2}}, unstated={"mine": ("e==1",), "other": ("c==1",)}
    )


def test_nothing_is_asked_or_written_when_the_sizes_are_those_of_the_locks(own_checkout: Path) -> None:
    catalogue = load_catalogue(own_checkout)
    file = own_checkout / SIZES_FILE
    before = file.read_bytes(), file.stat().st_mtime_ns
    made = python_sizes_.refresh(catalogue, python_lock.locks(catalogue), {})
    assert made == python_sizes_.Outcome()
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert not (own_checkout / ".build/lock").exists()


def test_a_lock_is_named_as_its_file_is() -> None:
    assert download_sizes.stem("constraints/common-debian-amd64.txt") == "common-debian-amd64"
