"""Fixtures of the smoke tests: the image under test, its layers, and the answers of a probe inside it."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import engine as engines
from dynamo_containers import process
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.inspect import content
from dynamo_containers.platforms import Platform
from tests.smoke import forbidden
from tests.smoke.containers import ARBITRARY_USER, MOUNTED, READ_ONLY, SCRIPTS, CouldNotCheckError, Engine
from tests.smoke.layers import SavedImage, read_saved_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue, Image

EMULATED = 12.0
"""Factor for time limits of emulated containers (measured with qemu-user: 3 to 10 times slower)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("smoke", "the image under test (nox -s smoke-... sets all options)")
    group.addoption("--image", help="tag of the base or runtime image")
    group.addoption("--ci-image", help="tag of its ci image, if it has one")
    group.addoption("--dev-image", help="tag of its dev image, if that is tested")
    group.addoption("--image-name", help="name of the image in containers/images.toml")
    group.addoption("--bases", default="debian", help="set of root images that it is based on")
    group.addoption("--platform", choices=[member.value for member in Platform], help="platform of the image")
    group.addoption("--logs", type=Path, help="folder for the output of the containers; emptied at the start")


def _option(config: pytest.Config, name: str) -> Any:  # noqa: ANN401 - as pytest has it
    value = config.getoption(name)
    if value is None:
        message = f"{name} is missing. Run the smoke tests with: nox -s smoke-base, smoke-frontend, ..."
        raise pytest.UsageError(message)
    return value


def pytest_report_header(config: pytest.Config) -> str:
    return f"image: {config.getoption('--image')}, {config.getoption('--platform')}, {_emulation(config)}"


def _emulation(config: pytest.Config) -> str:
    """Return whether containers are emulated. The machine of the engine counts, which may not be this one."""
    platform, arch = Platform(_option(config, "--platform")), _engine_arch()
    return "native" if platform.arch == arch else f"EMULATED on {arch}: times x {EMULATED:.0f}"


def _engine_arch() -> str:
    argv = ("docker", "version", "--format", "{{.Server.Arch}}")
    return process.capture(process.Command(argv=argv, env=engines.environment(ROOT))).strip()


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> str:
    return str(_option(request.config, "--image"))


@pytest.fixture(scope="session")
def ci_image(request: pytest.FixtureRequest) -> str:
    return str(_option(request.config, "--ci-image"))


@pytest.fixture(scope="session")
def dev_image(request: pytest.FixtureRequest) -> str:
    return str(_option(request.config, "--dev-image"))


@pytest.fixture(scope="session")
def row(request: pytest.FixtureRequest, catalogue: Catalogue) -> Image:
    return catalogue.images[_option(request.config, "--image-name")]


@pytest.fixture(scope="session")
def bases(request: pytest.FixtureRequest, catalogue: Catalogue) -> Bases:
    return catalogue.bases[_option(request.config, "--bases")]


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest) -> Platform:
    return Platform(_option(request.config, "--platform"))


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, platform: Platform) -> Engine:
    logs: Path = _option(request.config, "--logs")
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    emulated = _emulation(request.config) != "native"
    environment = engines.environment(ROOT)
    return Engine(environment=environment, platform=platform, patience=EMULATED if emulated else 1, logs=logs)


@pytest.fixture(scope="session", autouse=True)
def results_say_what_was_tested(
    request: pytest.FixtureRequest,
    record_testsuite_property: Callable[[str, object], None],
    inspected: dict[str, Any],
) -> None:
    config = request.config
    record_testsuite_property("image", _option(config, "--image"))
    record_testsuite_property("image id", inspected["Id"])
    record_testsuite_property("platform", _option(config, "--platform"))
    record_testsuite_property("emulated", str(_emulation(config) != "native").lower())


@pytest.fixture(scope="session")
def inspected(engine: Engine, image: str) -> dict[str, Any]:
    return engine.inspect(image)


@pytest.fixture(scope="session")
def labels(inspected: dict[str, Any]) -> dict[str, str]:
    image_labels: dict[str, str] = inspected["Config"]["Labels"]
    return image_labels


@pytest.fixture(scope="session")
def must_not_leak() -> tuple[forbidden.Forbidden, ...]:
    return forbidden.machine_traces(ROOT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that need the content of layers last: it is read while containers are tested."""
    asking = {item.path for item in items if _asks_for_layers(item)}
    items.sort(key=lambda item: item.path in asking)


def _asks_for_layers(item: pytest.Item) -> bool:
    return "saved_images" in getattr(item, "fixturenames", ())


@dataclass(frozen=True, kw_only=True)
class ReadLayers:
    """What was read of the images of one file."""

    images: dict[str, SavedImage]
    checks: dict[str, content.ContentCheck]
    """Tag -> what its layers contain that the rules of `[content]` deny."""


@pytest.fixture(scope="session", autouse=True)
def layers_that_are_read(
    request: pytest.FixtureRequest, engine: Engine, image: str, must_not_leak: tuple[forbidden.Forbidden, ...]
) -> Iterator[Future[ReadLayers] | None]:
    """Start to read the image and its ci image if a test needs them; together, because they share layers."""
    if not any(_asks_for_layers(item) for item in request.session.items):
        yield None
        return
    tags = [tag for tag in (image, request.config.getoption("--ci-image")) if tag]
    rules = request.getfixturevalue("catalogue").content

    def read() -> ReadLayers:
        file = engine.logs / "images.tar"
        try:
            engine.docker("save", "--output", str(file), *tags, seconds=600)
            images = read_saved_images(file, must_not_leak)
            return ReadLayers(images=images, checks={row.image: row for row in content.check(file, rules)})
        finally:
            file.unlink(missing_ok=True)

    with ThreadPoolExecutor(max_workers=1) as thread:
        yield thread.submit(read)


@pytest.fixture(scope="session")
def saved_images(layers_that_are_read: Future[ReadLayers]) -> dict[str, SavedImage]:
    return layers_that_are_read.result().images


@pytest.fixture(scope="session")
def content_checks(
    saved_images: dict[str, SavedImage],  # noqa: ARG001 - it is by this name that a test asks for the layers
    layers_that_are_read: Future[ReadLayers],
) -> dict[str, content.ContentCheck]:
    return layers_that_are_read.result().checks


@pytest.fixture(scope="session")
def layers(saved_images: dict[str, SavedImage], image: str) -> SavedImage:
    return saved_images[image]


@pytest.fixture(scope="session")
def ci_layers(saved_images: dict[str, SavedImage], ci_image: str) -> SavedImage:
    return saved_images[ci_image]


@pytest.fixture(scope="session")
def pip_mount() -> tuple[str, str]:
    """Mount the pip of this project's tools into a container, because a runtime has none; it gets only the code."""
    spec = find_spec("pip")
    if spec is None or spec.origin is None:
        message = "The tools of this project have no pip. Install the tools with: ./with-tools"
        raise CouldNotCheckError(message)
    return "--volume", f"{Path(spec.origin).parent}:/mnt/pip/pip:ro"


@pytest.fixture(scope="session")
def probe(engine: Engine, image: str, pip_mount: tuple[str, str]) -> dict[str, Any]:
    """Return all answers of the probe, run as the user of the image without a network; once, as a start is slow."""
    return run_probe(engine, image, "probe", *pip_mount)


@pytest.fixture(scope="session")
def arbitrary_user_probe(engine: Engine, image: str) -> dict[str, Any]:
    return run_probe(engine, image, "probe-arbitrary-user", *ARBITRARY_USER, questions=("user",))


@pytest.fixture(scope="session")
def read_only_probe(engine: Engine, image: str) -> dict[str, Any]:
    return run_probe(engine, image, "probe-read-only", *ARBITRARY_USER, *READ_ONLY, questions=("user",))


def run_probe(engine: Engine, image: str, name: str, *options: str, questions: tuple[str, ...] = ()) -> dict[str, Any]:
    command = ("python", "-B", f"{MOUNTED}/probe.py", *questions)
    options = ("--network", "none", *SCRIPTS, *options)
    answers: dict[str, Any] = json.loads(engine.run(image, command, name=name, options=options, seconds=60))
    return answers
