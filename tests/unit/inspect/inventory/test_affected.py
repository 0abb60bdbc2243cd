from __future__ import annotations

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.inspect.inventory import affected
from dynamo_containers.inspect.inventory.affected import Affected, Scope

CATALOGUE = load_catalogue()
FRONTEND = Scope(images=["frontend"], bases=["debian"], platforms=["linux/amd64"])


def ask(subject: str, advisory: str = "", scope: Scope = FRONTEND) -> tuple[Affected, int]:
    result = affected.affected(CATALOGUE, subject, advisory, scope)
    assert isinstance(result.data, Affected)
    return result.data, result.exit_code


def test_a_package_is_found_with_its_layer_and_the_bytes_of_the_layers_that_a_fix_changes() -> None:
    answer, exit_code = ask("urllib3")
    (row,) = answer.images
    (component,) = row.components
    assert exit_code == 1
    assert (component.layer, component.moves) == ("frontend", f"urllib3=={component.version}")
    assert row.layers == ("frontend",)
    assert 10**7 < row.pull < 10**9
    assert {period.lock for period in answer.history} >= {"frontend-debian-amd64"}


def test_nothing_affected_is_exit_code_0() -> None:
    answer, exit_code = ask("urllib3<0.1")
    assert (answer.images, answer.history, exit_code) == ((), (), 0)


def test_an_advisory_about_a_crate_names_the_wheel_that_has_it_inside() -> None:
    path = str(ROOT / "tests/data/osv/RUSTSEC-2026-0258.json")
    answer, _ = ask("GHSA-q83h-524g-xf6h", path)
    assert answer.subject == "RUSTSEC-2026-0258: h2 unbounded empty DATA frames"
    for row in answer.images:
        assert all(component.name == "h2" and not component.moves.startswith("h2") for component in row.components)


def test_a_deb_changes_every_layer_because_the_time_of_all_files_moves() -> None:
    answer, _ = ask("pkg:deb/debian/util-linux")
    (row,) = answer.images
    assert row.layers[:2] == ("root image", "os")
    assert "frontend-dynamo" in row.layers


def test_images_that_were_never_locked_are_named_and_their_python_packages_are_looked_at() -> None:
    answer, exit_code = ask("urllib3", scope=Scope(images=["frontend", "trtllm"], bases=["cuda"]))
    assert exit_code == 1
    assert {row.image for row in answer.images} == {"frontend"}
    assert any("only its Python packages were looked at: frontend on cuda" in note for note in answer.notes)
    assert any("nothing of it was looked at: trtllm on cuda" in note for note in answer.notes)


@pytest.mark.parametrize(
    ("subject", "scope", "message"),
    [
        ("GHSA-q83h-524g-xf6h", FRONTEND, "is the id of an advisory"),
        ("urllib3", Scope(images=["frotend"]), 'unknown image "frotend"'),
        ("urllib3", Scope(bases=["x"]), 'unknown bases "x"'),
        ("urllib3", Scope(stage="x"), 'unknown stage "x"'),
        ("urllib3", Scope(images=["base"], stage="runtime"), "No image is made of these"),
    ],
)
def test_wrong_names_are_refused(subject: str, scope: Scope, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ask(subject, scope=scope)
