"""What images have in common is taken out of their locks, and nothing is lost on the way."""

from __future__ import annotations

from dynamo_containers.facts.locks import python_common
from dynamo_containers.facts.locks.python_common import VersionDifference

A, B = (f"    --hash=sha256:{letter * 64}\n" for letter in "ab")
HEAD = "#\n#    invoke lock\n#\n# target: debian linux/amd64\n# inputs: sha256:1\n#\n"
TORCH = f"torch==2.11.0 \\\n{A}"
VLLM = (
    f"{HEAD}numba==0.65.0 \\\n{A}    # via vllm\n"
    f"{TORCH}    # via\n    #   torchvision\n    #   vllm\n"
    f"vllm==0.26.0 \\\n{B}    # via ai-dynamo\n"
    "\n# WARNING: The following packages were not pinned\n# ai-dynamo\n"
)
SGLANG = (
    f"{HEAD}numba==0.65.1 \\\n{B}    # via sglang\n"
    f"sglang==0.5.16 \\\n{A}    # via -r requirements/sglang.in\n"
    f"{TORCH}    # via sglang\n"
)


def part() -> tuple[str, dict[str, str]]:
    return python_common.split({"vllm": VLLM, "sglang": SGLANG})


def test_a_package_with_one_version_and_one_set_of_files_moves_into_the_shared_lock() -> None:
    common, rest = part()
    assert common == f"{TORCH}    # via\n    #   sglang\n    #   torchvision\n    #   vllm\n"
    assert "torch==" not in rest["vllm"] + rest["sglang"]


def test_the_rest_keeps_its_head_and_what_pip_compile_says_at_the_end() -> None:
    _, rest = part()
    assert rest["vllm"].startswith(HEAD)
    assert rest["vllm"].endswith("\n# WARNING: The following packages were not pinned\n# ai-dynamo\n")


def test_what_was_parted_is_put_together_again() -> None:
    common, rest = part()
    for name, lock in {"vllm": VLLM, "sglang": SGLANG}.items():
        again = python_common.join(common, rest[name])
        entries = python_common.parse(lock).entries
        assert {key: entry.pin for key, entry in python_common.parse(again).entries.items()} == {
            key: entry.pin for key, entry in entries.items()
        }


def test_a_lock_that_is_parsed_and_written_is_the_same_file() -> None:
    for lock in (VLLM, SGLANG):
        assert python_common.parse(lock).text() == lock


def test_the_same_version_with_other_files_is_not_shared() -> None:
    common, rest = python_common.split({"vllm": VLLM, "sglang": SGLANG.replace(TORCH, TORCH.replace(A, B))})
    assert not common
    assert all("torch==2.11.0" in lock for lock in rest.values())


def versions(lock: str) -> dict[str, str]:
    return {name: entry.version for name, entry in python_common.parse(lock).entries.items()}


def test_a_start_has_an_images_own_pins_and_what_others_have_of_the_packages_to_be_alike() -> None:
    seed = python_common.with_pins_of(VLLM, [SGLANG], ["numba", "sglang"])
    assert versions(seed) == {"numba": "0.65.0", "sglang": "0.5.16", "torch": "2.11.0", "vllm": "0.26.0"}


def test_an_image_without_a_lock_starts_from_those_of_the_others() -> None:
    assert versions(python_common.with_pins_of("", [VLLM], ["tor*"])) == {"torch": "2.11.0"}


def test_what_must_be_alike_and_differs_is_found_with_who_requires_it() -> None:
    locks = {"vllm": VLLM, "sglang": SGLANG}
    assert python_common.differences(locks, ["torch", "num*"]) == (
        VersionDifference(name="numba", versions=(("vllm", "0.65.0", "vllm"), ("sglang", "0.65.1", "sglang"))),
    )
    assert python_common.differences(locks, ["torch", "vllm"]) == ()


def test_a_lock_says_once_what_it_shares() -> None:
    once = python_common.with_shares_line("# shares common.txt: sha256:2", VLLM)
    twice = python_common.with_shares_line("# shares common.txt: sha256:3", once)
    assert twice == VLLM.replace("sha256:1\n", "sha256:1\n# shares common.txt: sha256:3\n")
