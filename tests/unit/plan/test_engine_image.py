"""Images on the published image of their engine: their row, pin, locks and bake document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts import image_inputs
from dynamo_containers.facts.bases import RegistryRoot
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, InstallFrom, Stage, load_catalogue
from dynamo_containers.facts.locks import python_lock
from dynamo_containers.facts.pins import PINS_FILE, load_pins, render
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.prepare import inputs
from tests.unit import planned

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs

GOLDEN = Path(__file__).parents[1] / "golden/small-ci-on-engine-image-amd64.json"
HEAD = 'title = "Dynamo small"\n'
REFERENCE = "registry.example.invalid/engine/small:1"
ROW = f'backend = "small"\ninstall-from = "image"\nengine-image = "{REFERENCE}"\n'
INDEX, MANIFEST = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PIN = f'\n[roots.engine-image.small]\nimage = "{REFERENCE}"\nindex = "{INDEX}"\n"linux/amd64" = "{MANIFEST}"\n'


def written(folder: Path, row: str, pin: str = PIN) -> Catalogue:
    """Return the catalogue after keys were added to the row `images.small`, and a pin to pins.toml."""
    images, pins = folder / IMAGES_FILE, folder / PINS_FILE
    text = images.read_text(encoding="utf-8").replace('stages = ["runtime"]', 'stages = ["runtime", "ci", "dev"]')
    images.write_text(text.replace(HEAD, HEAD + row), encoding="utf-8")
    with pins.open("a", encoding="utf-8") as file:
        file.write(pin)
    return load_catalogue(folder)


def switched(folder: Path, name: str) -> Catalogue:
    """Return the catalogue of a copy of this project after `install-from` of an image was replaced."""
    head, row, rest = (folder / IMAGES_FILE).read_text(encoding="utf-8").partition(f"[images.{name}]\n")
    text = head + row + rest.replace('install-from = "wheels"', 'install-from = "image"', 1)
    (folder / IMAGES_FILE).write_text(text, encoding="utf-8")
    return load_catalogue(folder)


def document(catalogue: Catalogue, facts: BuildInputs, stage: Stage) -> dict[str, Any]:
    """Return the document that builds `small`, as it would be in a checkout at /checkout."""
    request = request_for(catalogue, stage, ImageSelection(images=["small"], platforms=["linux/amd64"]))
    (bake_file,) = planned.execution(request, facts).documents
    content: dict[str, Any] = json.loads(bake_file.text.replace(str(catalogue.folder), "/checkout"))
    return content


def targets(catalogue: Catalogue, facts: BuildInputs, stage: Stage) -> dict[str, Any]:
    """Return the targets of that document."""
    by_name: dict[str, Any] = document(catalogue, facts, stage)["target"]
    return by_name


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(
            'install-from = "wheel"\n',
            'images.small.install-from: found \'wheel\', allowed is one of "image", "wheels".',
            id="an unknown value",
        ),
        pytest.param(
            'backend = "small"\ninstall-from = "image"\n',
            'images.small.install-from: found "image" without engine-image, '
            'allowed is "image" with engine-image, or "wheels".',
            id="no published image",
        ),
        pytest.param(
            f'install-from = "image"\nengine-image = "{REFERENCE}"\n',
            'images.small.install-from: found "image" without backend, allowed is "image" with backend, or "wheels".',
            id="no engine",
        ),
        pytest.param(
            f'engine-image = "{REFERENCE}@{INDEX}"\n',
            f"images.small.engine-image: found '{REFERENCE}@",
            id="a digest, which belongs into pins.toml",
        ),
    ],
)
def test_a_wrong_row_is_refused_by_name(checkout: Path, row: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        written(checkout, row)
    assert str(caught.value).splitlines()[0].startswith(f"{IMAGES_FILE}: {message}")


def test_bases_may_not_be_called_like_the_table_of_these_pins(checkout: Path) -> None:
    images = checkout / IMAGES_FILE
    text = images.read_text(encoding="utf-8").replace("[bases.debian", "[bases.engine-image")
    images.write_text(text.replace('bases = ["debian"]', 'bases = ["engine-image"]'), encoding="utf-8")
    with pytest.raises(UsageError, match=r"bases\.engine-image: found bases of that name"):
        load_catalogue(checkout)


def test_by_default_an_image_installs_wheels_and_its_published_image_needs_no_pin(checkout: Path) -> None:
    catalogue = written(checkout, f'engine-image = "{REFERENCE}"\n', pin="")
    small = catalogue.images["small"]
    assert (small.install_from, small.engine_image) == (InstallFrom.WHEELS, RegistryRoot(image=REFERENCE))
    assert small.stages == (Stage.RUNTIME, Stage.CI, Stage.DEV)
    assert lock_check.check(catalogue, selection.select(["images"])).text == "Every lock is current (images)."


def test_on_a_published_image_there_is_a_runtime_and_a_ci_stage(checkout: Path) -> None:
    small = written(checkout, ROW).images["small"]
    assert (small.install_from, small.stages) == (InstallFrom.IMAGE, (Stage.RUNTIME, Stage.CI))


def test_another_python_of_a_published_image_is_named_in_its_row(checkout: Path, facts: BuildInputs) -> None:
    bake_targets = targets(
        written(checkout, f'{ROW}engine-interpreter = "/opt/venv/bin/python"\n'), facts, Stage.RUNTIME
    )
    assert bake_targets["small-engine-image"]["args"]["PYTHON"] == "/opt/venv/bin/python"
    assert not bake_targets["small-os"]["args"]["PYTHON"]  # it has no Python of the bases


def test_the_bake_document_is_the_reviewed_one(checkout: Path, facts: BuildInputs) -> None:
    assert document(written(checkout, ROW), facts, Stage.CI) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_published_image_replaces_the_runtime_s_root_image_by_digest(checkout: Path, facts: BuildInputs) -> None:
    bake_targets = targets(written(checkout, ROW), facts, Stage.RUNTIME)
    own = {"small-engine-image", "small-os", "small-runtime"}
    assert set(bake_targets) == {"base", "base-nixl", "base-rest", "builder", "tools", *own}
    assert (
        bake_targets["small-os"]["contexts"]["root-amd64"]
        == f"docker-image://registry.example.invalid/engine/small@{MANIFEST}"
    )
    labels = bake_targets["small-runtime"]["labels"]
    assert labels["org.opencontainers.image.base.name"] == REFERENCE
    assert labels["org.opencontainers.image.base.digest"] == INDEX


@pytest.mark.parametrize("stage", [Stage.RUNTIME, Stage.CI], ids=lambda stage: str(stage.value))
def test_no_root_image_is_made_and_no_set_of_os_packages_installed_for_it(checkout: Path, stage: Stage) -> None:
    small = written(checkout, ROW + 'os-packages = ["compiler"]\n').images["small"]
    assert image_inputs.root_roles(small, stage) == ("builder",)
    assert image_inputs.os_sets(small, stage) == ()


def test_its_stages_have_locks_of_their_own(checkout: Path) -> None:
    small = written(checkout, ROW).images["small"]
    assert image_inputs.python_layers(small, Stage.RUNTIME) == ("builder", "base", "small-engine-image")
    assert image_inputs.python_layers(small, Stage.CI)[-1] == "small-engine-image-ci"


def test_the_published_image_adds_locks_and_changes_no_others(own_checkout: Path) -> None:
    before = python_lock.locks(load_catalogue(own_checkout))
    after = python_lock.locks(switched(own_checkout, "vllm"))
    assert [lock for lock in after if lock in before] == list(before)
    added = [lock for lock in after if lock not in before]
    assert [lock.path for lock in added if lock.target.bases == "cuda"] == [
        "constraints/vllm-engine-image-cuda-amd64.txt",
        "constraints/vllm-engine-image-cuda-arm64.txt",
        "constraints/vllm-engine-image-ci-cuda-amd64.txt",
        "constraints/vllm-engine-image-ci-cuda-arm64.txt",
    ]
    assert {lock.target.glibc for lock in added} == {"2.35"}  # the oldest that the project promises
    assert added[0].inputs[0] == "requirements/engine-image.in"
    assert added[0].excluded == ("nixl-cu12",)


def test_an_image_on_a_published_image_does_not_use_the_index_of_the_engine(own_checkout: Path) -> None:
    locks = {lock.path: lock for lock in python_lock.locks(switched(own_checkout, "trtllm"))}
    assert "constraints/trtllm-cuda-amd64.txt" not in locks  # no image shares it, so none needs it
    assert locks["constraints/trtllm-engine-image-cuda-amd64.txt"].indexes == ()


def test_a_published_image_without_a_pin_is_listed(own_checkout: Path) -> None:
    catalogue = switched(own_checkout, "vllm")
    result = lock_check.check(catalogue, selection.select(["images"]))
    assert result.exit_code == 10
    (line,) = [line for line in result.text.splitlines() if "engine-image" in line]
    assert line.split() == ["roots.engine-image.vllm", "docker.io/vllm/vllm-openai:v0.26.0"]
    assert lock_check.check(catalogue, selection.select(["images"], images=["sglang"])).exit_code == 0


def test_a_plan_refuses_a_published_image_that_was_never_pinned(checkout: Path, facts: BuildInputs) -> None:
    with pytest.raises(LockError) as caught:
        targets(written(checkout, ROW, pin=""), facts, Stage.RUNTIME)
    assert str(caught.value) == (
        "containers/pins.toml has no roots.engine-image.small.\nPin it with: invoke lock --only images --image small"
    )


def test_a_pin_of_another_reference_is_stale(checkout: Path, facts: BuildInputs) -> None:
    catalogue = written(checkout, ROW.replace("small:1", "small:2"))
    message = (
        f"containers/pins.toml is stale: roots.engine-image.small is for {REFERENCE}, "
        "but containers/images.toml has registry.example.invalid/engine/small:2.\n"
        "Pin it with: invoke lock --only images --image small"
    )
    with pytest.raises(LockError) as caught:
        targets(catalogue, facts, Stage.RUNTIME)
    assert str(caught.value) == message
    assert message in lock_check.check(catalogue, selection.select(["images"])).text


def test_its_pin_is_written_as_it_is_read(checkout: Path) -> None:
    pins = written(checkout, ROW).pins
    assert PIN.strip() in render(pins)
    (checkout / PINS_FILE).write_text(render(pins), encoding="utf-8")
    assert load_pins(checkout).roots == pins.roots


def locked(folder: Path, manifest: str) -> Catalogue:
    """Return a copy of this project whose vLLM is on its published image, as if it were locked."""
    catalogue = switched(folder, "vllm")
    root = catalogue.images["vllm"].engine_image
    assert root
    digests = "".join(f'"{platform.value}" = "{manifest}"\n' for platform in catalogue.images["vllm"].platforms)
    with (folder / PINS_FILE).open("a", encoding="utf-8") as file:
        file.write(f'\n[roots.engine-image.vllm]\nimage = "{root.image}"\nindex = "{INDEX}"\n{digests}')
    for lock in python_lock.locks(catalogue):
        if lock.layer.on_engine_image:
            text = python_lock.header(lock, python_lock.read_texts(lock, folder), {})
            text += f"idna==3.20 \\\n    --hash={INDEX}\n    # via ai-dynamo\n"
            (folder / lock.path).write_text(text, encoding="utf-8")
    return load_catalogue(folder)


def test_the_lock_label_of_a_build_changes_with_the_published_image(own_checkout: Path) -> None:
    labels = []
    for manifest in (MANIFEST, f"sha256:{'c' * 64}"):
        (own_checkout / PINS_FILE).write_text(render(load_catalogue().pins), encoding="utf-8")
        text = (ROOT / IMAGES_FILE).read_text(encoding="utf-8")
        (own_checkout / IMAGES_FILE).write_text(text, encoding="utf-8")
        catalogue = locked(own_checkout, manifest)
        request = request_for(
            catalogue, Stage.CI, ImageSelection(images=["vllm"], platforms=["linux/amd64"], bases="cuda")
        )
        bake_targets = planned.document(request, inputs.build_inputs(request, dry_run=True))["target"]
        system = bake_targets["vllm-os"]["contexts"]["root-amd64"]
        assert system == f"docker-image://docker.io/vllm/vllm-openai@{manifest}"
        assert bake_targets["vllm-engine-image"]["args"]["LEFT_OUT"] == "nixl-cu12"
        labels.append(bake_targets["vllm-ci"]["labels"]["ai.dynamo.lock"])
    assert labels[0] != labels[1]


def test_a_build_refuses_a_published_image_whose_locks_were_never_made(own_checkout: Path) -> None:
    catalogue = locked(own_checkout, MANIFEST)
    (own_checkout / "constraints/vllm-engine-image-cuda-arm64.txt").unlink()
    request = request_for(
        catalogue, Stage.RUNTIME, ImageSelection(images=["vllm"], platforms=["linux/amd64"], bases="cuda")
    )
    with pytest.raises(LockError, match=r"^constraints/vllm-engine-image-cuda-arm64\.txt is missing.*\n.*invoke lock"):
        inputs.build_inputs(request, dry_run=True)
