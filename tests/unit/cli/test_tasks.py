"""The command line: one message and an exit code for what is foreseen, and nothing left behind after Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copy2, copytree
from typing import TYPE_CHECKING

import pytest
from invoke.main import program

from dynamo_containers import process as process_module
from dynamo_containers import state
from dynamo_containers.facts import catalogue
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.inspect.report import record, store
from dynamo_containers.platforms import native_platform
from tests.unit.conftest import leave_free

if TYPE_CHECKING:
    from collections.abc import Callable

BUILDX = """\
#!/bin/sh
echo "$@" >> "$STARTED"
echo "buildx says hello"
"""
CACHE = """\
#!/bin/sh
if [ "$1" = du ]; then
    printf 'ID\\tRECLAIMABLE\\tSIZE\\nabc\\ttrue\\t1.2MB\\nReclaimable:\\t1.2MB\\nTotal:\\t\\t{}\\n'
fi
"""


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A copy of this checkout on a machine whose engine is a script."""

    checkout: Path
    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    @property
    def started(self) -> Path:
        """Return the file that the stand-in for buildx writes its arguments to."""
        return self.checkout.parent / "started"

    @property
    def plugin(self) -> Path:
        """Return the stand-in for buildx."""
        return self.checkout.parent / "docker/cli-plugins/docker-buildx"

    @property
    def command(self) -> str:
        """Return how a printed build starts."""
        return f"BUILDX_METADATA_PROVENANCE=disabled {self.plugin}"

    def buildx(self, script: str) -> None:
        """Let buildx be this script."""
        self.plugin.write_text(script, encoding="utf-8")
        self.plugin.chmod(0o755)

    def has(self, *tags: str) -> None:
        """Let the engine have images of these tags."""
        docker = Path(os.environ["PATH"].partition(":")[0], "docker")
        docker.unlink()
        lines = ("#!/bin/sh", '[ "$1 $2" = "image ls" ] || exit 0', *(f"echo {tag}" for tag in tags))
        docker.write_text("\n".join([*lines, ""]), encoding="utf-8")
        docker.chmod(0o755)

    def append(self, file: str, text: str) -> None:
        """Add to a file of the checkout."""
        with (self.checkout / file).open("a", encoding="utf-8") as content:
            content.write(text)

    def invoke(self, *arguments: str) -> tuple[int, str, str]:
        """Run `invoke` in this process; return its exit code, output and complaints."""
        code: object = 0
        try:
            program.run(["invoke", "--search-root", str(self.checkout), *arguments])
        except SystemExit as end:
            code = end.code
        output, complaints = self.capture.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in complaints
        return code, output, complaints

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `invoke` in a session of its own, as a terminal would, with the checkout's own library."""
        copytree(Path(process_module.__file__).parent, self.checkout / "dynamo_containers")
        return subprocess.Popen(
            # In the background or below `nohup` signals are ignored, and what these tests start would inherit that.
            ("env", "--default-signal=INT,TERM,HUP", sys.executable, "-m", "invoke", *arguments),
            cwd=self.checkout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def line(
    own_checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> CommandLine:
    """Return the command line of a checkout with full caches, beside an engine that takes any build."""
    copy2(catalogue.ROOT / "tasks.py", own_checkout)
    (tmp_path / "docker/cli-plugins").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").symlink_to("/bin/true")
    (tmp_path / "bin/apt-get").symlink_to("/bin/false")  # whatever the caches lack, no test asks a mirror for it
    monkeypatch.setattr(catalogue, "ROOT", own_checkout)
    monkeypatch.setattr(catalogue, "load_catalogue", partial(catalogue.load_catalogue, own_checkout))
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    for name, value in {
        "DOCKER_CONFIG": f"{tmp_path}/docker",
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "STARTED": f"{tmp_path}/started",
    }.items():
        monkeypatch.setenv(name, value)
    line = CommandLine(checkout=own_checkout, monkeypatch=monkeypatch, capture=capfd)
    line.buildx(BUILDX)
    return line


@pytest.mark.cli
def test_the_list_of_tasks_is_there(line: CommandLine) -> None:
    with line.start("--list") as process:
        output, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")
    engines, builds = ("engine.up", "engine.status", "engine.down"), ("build.base", "build.runtime", "build.ci")
    for task in (*builds, *engines, "lock", "explain", "run"):
        assert f"  {task} " in output


def test_all_stages_are_built_one_by_one_and_in_one_go_once_nothing_changed(line: CommandLine) -> None:
    def documents() -> list[str]:
        lines = line.started.read_text(encoding="utf-8").splitlines()
        line.started.unlink()
        return [Path(command.split()[-1]).name for command in lines]

    arguments = ("build.all", "--image", "frontend", "--stage", "base", "--stage", "runtime")
    one_by_one = [f"bake-{image}-debian-{native_platform().arch}.json" for image in ("base-base", "runtime-frontend")]
    assert line.invoke(*arguments)[0] == 0
    assert documents() == one_by_one
    assert line.invoke(*arguments)[0] == 0
    assert documents() == one_by_one  # the engine was emptied
    version = f"1.4.2-debian-{native_platform().arch}"
    line.has(f"dynamo-base:{version}", f"dynamo-frontend:{version}")
    assert line.invoke(*arguments)[0] == 0
    assert documents() == [f"bake-base-runtime-base-frontend-debian-{native_platform().arch}.json"]
    report = report_of(line)
    assert report.request.command == "invoke build.all --image frontend --stage base --stage runtime"
    assert report.request.stage == "base, runtime"
    line.append("containers/os/entrypoint", "# one more\n")
    assert line.invoke(*arguments)[0] == 0
    assert documents() == one_by_one


def test_a_build_hands_one_document_to_docker(line: CommandLine) -> None:
    code, output, complaints = line.invoke("build.base", "--platform", native_platform().value)
    document = line.checkout / f".build/bake-base-base-debian-{native_platform().arch}.json"
    assert (code, output) == (0, "buildx says hello\n")
    assert complaints.startswith(f"+ {line.command} bake ")
    command, _, rest = complaints.partition("\n")
    assert command.endswith(f" --file {document}")
    assert line.started.read_text(encoding="utf-8") == command.removeprefix(f"+ {line.command} ") + "\n"
    budget, image = rest.splitlines()
    assert budget.startswith("The budget of dynamo-base:")
    assert budget.endswith(" was NOT CHECKED: only the private engine shows the sizes of compressed layers.")
    assert re.fullmatch(r'Built dynamo-base:\S+, \d+\.\d s\. Next: nox -s "smoke-base\(\w+\)"', image)
    assert json.loads(document.read_text(encoding="utf-8"))["group"]["default"]["targets"] == ["base"]


def files_below(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts}


@pytest.mark.parametrize("engine", ["an engine", "no engine"])
def test_a_dry_run_of_a_build_prints_its_script_without_an_engine_and_writes_nothing(
    line: CommandLine, engine: str
) -> None:
    if engine == "no engine":
        line.monkeypatch.setenv("DOCKER_HOST", f"unix://{line.checkout}/no.sock")
    before = files_below(line.checkout)
    code, output, complaints = line.invoke("-R", "build.runtime", "--image", "frontend", "--platform", "all")
    document = line.checkout / ".build/bake-runtime-frontend-debian-amd64-arm64.json"
    assert code == 0
    assert ("No Docker Engine answers" in complaints) == (engine == "no engine")
    assert f"cat > {document} <<'END_OF_DOCUMENT'\n{{\n" in output
    assert output.splitlines()[-1].endswith(f" --file {document}")
    assert files_below(line.checkout) == before
    assert not line.started.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("build.all", "--image", "frontend"),
        ("build.runtime", "--image", "frontend", "--platform", "all", "--push", "registry.example/team"),
        ("build.ci", "--image", "frontend", "--cache-from", "registry.example/cache"),
        ("run", "frontend"),
        ("clean",),
        ("lock", "--only", "os"),
        ("explain", "frontend"),
        ("lint",),
    ],
    ids=" ".join,
)
def test_a_dry_run_of_any_task_writes_nothing_and_needs_no_engine(
    line: CommandLine, arguments: tuple[str, ...]
) -> None:
    line.monkeypatch.setenv("DOCKER_HOST", f"unix://{line.checkout}/no.sock")
    before = files_below(line.checkout)
    code, output, complaints = line.invoke("-R", *arguments)
    assert code == 0
    assert output + complaints
    assert files_below(line.checkout) == before
    assert not line.started.exists()


@pytest.mark.parametrize("task", ["engine.up", "engine.down", "build.accept-sizes"])
def test_a_task_without_a_plan_refuses_a_dry_run(line: CommandLine, task: str) -> None:
    code, _, complaints = line.invoke("-R", task)
    assert (code, complaints.splitlines()[0]) == (2, "error: This task has no dry run.")


def test_an_image_is_explained_without_an_engine(line: CommandLine) -> None:
    line.monkeypatch.setenv("DOCKER_HOST", f"unix://{line.checkout}/no.sock")
    code, output, complaints = line.invoke("explain", "sglang", "--platform", "linux/arm64")
    assert (code, complaints) == (0, "")
    assert output.startswith("sglang, runtime stage, linux/arm64: sglang-runtime:")


def test_an_explanation_names_the_builder_and_the_caches_that_this_machine_has(line: CommandLine) -> None:
    (line.checkout / "caches.toml").write_text('from = ["registry.example/cache"]', encoding="utf-8")
    (line.checkout / "builders.toml").write_text('[builders]\n"linux/arm64" = "arm-node"', encoding="utf-8")
    line.monkeypatch.setenv("DYNAMO_CONTAINERS_CACHES", str(line.checkout / "caches.toml"))
    line.monkeypatch.setenv("DYNAMO_CONTAINERS_BUILDERS", str(line.checkout / "builders.toml"))
    _, output, _ = line.invoke("explain", "frontend", "--platform", "linux/arm64")
    assert output.endswith(
        "\nBuilt by the builder arm-node\n"
        "Read where it exists: the build cache registry.example/cache:frontend-runtime-debian-arm64\n"
        "Read where it exists: the build cache registry.example/cache:frontend-runtime-debian-amd64-arm64\n"
    )


def test_an_image_that_is_not_built_cannot_be_run(line: CommandLine) -> None:
    (line.checkout.parent / "bin/docker").write_text("#!/bin/sh\n", encoding="utf-8")
    code, output, complaints = line.invoke("run", "vllm", "--stage", "ci", "--platform", "linux/amd64")
    assert (code, output) == (2, "")
    assert complaints.endswith("Build it: invoke build.ci --image vllm --platform linux/amd64 --bases debian\n")


def test_a_source_that_is_no_folder_is_refused(line: CommandLine) -> None:
    code, _, complaints = line.invoke("run", "--source", str(line.checkout / "nowhere"))
    assert code == 2
    assert complaints.startswith(f"error: --source: {line.checkout}/nowhere is not a folder.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ("build.runtime", "--image", "fronted"),
            'unknown image "fronted" (choose from: frontend, vllm, sglang)\nDid you mean frontend?\n',
            id="image",
        ),
        pytest.param(
            ("build.base", "--platform", "linux/arm46"),
            'unknown platform "linux/arm46" (choose from: linux/amd64, linux/arm64, all)\nDid you mean linux/arm64?\n',
            id="platform",
        ),
        pytest.param(
            ("build.base", "--bases", "cdua"),
            'unknown bases "cdua" (choose from: debian, cuda)\nDid you mean cuda?\n',
            id="bases",
        ),
        pytest.param(
            ("build.accept-sizes", "--stage", "nonsense"),
            'unknown stage "nonsense" (choose from: runtime, base)\n',
            id="stage of accepted sizes",
        ),
        pytest.param(
            ("build.accept-sizes", "--stage", "ci"),
            "ci images have no budget (choose from: runtime, base)\n",
            id="stage without budgets",
        ),
        pytest.param(
            ("lock", "--check", "--only", "pyhton"),
            'unknown kind of lock "pyhton" (choose from: archives, os, images, python, contents)\n'
            "Did you mean python?\n",
            id="kind of lock",
        ),
        pytest.param(
            ("lock", "--image", "frotend"),
            'unknown image "frotend" (choose from: base, frontend, vllm, sglang, trtllm)\nDid you mean frontend?\n',
            id="image of a lock",
        ),
        pytest.param(
            ("lock", "--upgrade", "ai-dynmo"), 'No lock pins "ai-dynmo", so it cannot be upgraded.\n', id="package"
        ),
        pytest.param(
            ("lock", "--check", "--bases", "cdua"),
            'unknown bases "cdua" (choose from: debian, cuda)\nDid you mean cuda?\n',
            id="bases of a lock",
        ),
        pytest.param(
            ("lock", "--platform", "linux/arm46"),
            'unknown platform "linux/arm46" (choose from: linux/amd64, linux/arm64, all)\nDid you mean linux/arm64?\n',
            id="platform of a lock",
        ),
        pytest.param(
            ("lock", "--image", "trtllm", "--bases", "debian", "--only", "os"),
            "No image is made for these bases and platforms together, so there is nothing to lock.\n",
            id="a part that is empty",
        ),
    ],
)
def test_an_unknown_word_is_one_message_and_exit_code_2(
    line: CommandLine, arguments: tuple[str, ...], message: str
) -> None:
    code, output, complaints = line.invoke(*arguments)
    assert (code, output) == (2, "")
    assert complaints.startswith(f"error: {message}")
    assert complaints.count("\n") <= 2
    assert not line.started.exists()


def test_a_clean_clone_passes_its_checks_and_names_what_is_knowingly_not_locked(line: CommandLine) -> None:
    code, output, complaints = line.invoke("lock", "--check")
    assert (code, complaints) == (0, "")
    assert output.startswith(
        "Every lock that exists is current (archives, os, images, python, contents).\nNot locked, knowingly, "
    )
    code, output, complaints = line.invoke("lint")
    assert (code, complaints) == (0, "")
    assert "\n  trtllm on cuda: Not locked, knowingly, because " in output


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'ERROR: dial tcp: connect: connection refused' >&2; exit 1", "dial tcp: connect: connection refused"),
        ("echo hello", "buildx did not return a manifest; it must be version 0.8 or newer"),
    ],
    ids=["a registry that refuses", "another buildx"],
)
def test_who_cannot_be_asked_is_exit_code_10_and_leaves_the_pins(line: CommandLine, script: str, reason: str) -> None:
    line.buildx(f"#!/bin/sh\n{script}\n")
    before = (line.checkout / PINS_FILE).read_bytes()
    code, output, complaints = line.invoke("lock", "--only", "images", "--bases", "cuda")
    assert (code, complaints) == (10, "")
    assert output.startswith("Nothing moved.\n")
    rows = [text.split() for text in output.splitlines() if text.endswith(reason)]
    assert [row[0] for row in rows] == ["roots.cuda.builder", "roots.cuda.devel", "roots.cuda.runtime"]
    assert all(row[2:5] == ["the", "old", "pin"] for row in rows)
    assert (line.checkout / PINS_FILE).read_bytes() == before


def test_an_unknown_stage_is_an_unknown_task(line: CommandLine) -> None:
    code, output, complaints = line.invoke("build.runtme")
    assert (code, output) == (2, "")
    assert complaints.startswith('error: unknown task "build.runtme" (choose from: ')
    assert "\nDid you mean build.runtime?\n" in complaints


def test_an_unknown_key_is_exit_code_2(line: CommandLine) -> None:
    line.append("containers/images.toml", 'colour = "red"\n')
    code, _, complaints = line.invoke("build.base")
    assert code == 2
    assert complaints.startswith("error: containers/images.toml: images.trtllm.colour: unknown key (choose from: ")


def test_no_engine_is_exit_code_3(line: CommandLine) -> None:
    line.monkeypatch.setenv("DOCKER_HOST", f"unix://{line.checkout}/no.sock")
    code, _, complaints = line.invoke("build.base")
    assert code == 3
    assert complaints == (
        f"error: DOCKER_HOST names the Docker Engine at unix://{line.checkout}/no.sock, but nothing answers there.\n"
        "Start that engine, or `unset DOCKER_HOST` and run: invoke engine.up\n"
    )


@pytest.mark.parametrize(
    "arguments", [("build.base", "--platform", native_platform().value), ("lock", "--check")], ids=["build", "check"]
)
def test_a_stale_lock_is_exit_code_4(line: CommandLine, arguments: tuple[str, ...]) -> None:
    line.append("requirements/base.in", "one-more==1\n")
    code, output, complaints = line.invoke(*arguments)
    assert code == 4
    assert "constraints/base-debian-amd64.txt is stale" in output + complaints
    assert (output + complaints).endswith("Update it with: invoke lock\n")
    assert not line.started.exists()


def test_a_pool_of_a_stale_lock_is_exit_code_4_and_no_folder_is_exit_code_2(line: CommandLine) -> None:
    pool = line.checkout.parent / "kept"
    (line.checkout / "constraints/os-debian-builder-amd64.txt").unlink()
    code, _, complaints = line.invoke("lock", "--keep-pool", str(pool))
    assert code == 4
    assert complaints.startswith("error: constraints/os-debian-builder-amd64.txt is missing.\n")
    assert not pool.exists()
    code, _, complaints = line.invoke("lock", "--keep-pool", "")
    assert (code, complaints.splitlines()[0]) == (2, "error: --keep-pool of `invoke lock` has an empty value")


def test_no_room_for_the_build_is_exit_code_6(line: CommandLine) -> None:
    leave_free(line.monkeypatch, 10**6)
    code, _, complaints = line.invoke("build.base", "--platform", native_platform().value)
    assert code == 6
    assert "by its locks this build writes about 2." in complaints
    assert f" GB below {line.checkout}, and 0.0 GB is free.\n" in complaints
    assert not line.started.exists()


def test_what_was_built_here_before_needs_no_room_and_no_sizes(line: CommandLine) -> None:
    arguments = ("build.base", "--platform", native_platform().value)
    assert line.invoke(*arguments)[0] == 0
    (line.checkout / "constraints/sizes.toml").unlink()
    line.buildx(CACHE.format("6.02GB"))
    leave_free(line.monkeypatch, 10**6)
    assert line.invoke(*arguments)[0] == 0


def test_what_the_engine_s_owner_has_pruned_needs_room_again(line: CommandLine) -> None:
    arguments = ("build.base", "--platform", native_platform().value)
    assert line.invoke(*arguments)[0] == 0
    leave_free(line.monkeypatch, 10**6)
    for script in (CACHE.format("12.3MB"), "#!/bin/sh\nexit 1\n"):
        line.buildx(script)
        code, _, complaints = line.invoke(*arguments)
        assert code == 6
        assert "by its locks this build writes about 2." in complaints


def test_an_engine_is_not_asked_where_the_disk_holds_the_build_anew(line: CommandLine) -> None:
    arguments = ("build.base", "--platform", native_platform().value)
    assert line.invoke(*arguments)[0] == 0
    assert line.invoke(*arguments)[0] == 0
    assert [command.split()[0] for command in line.started.read_text(encoding="utf-8").splitlines()] == ["bake", "bake"]


def test_another_build_needs_no_room_for_what_it_shares_while_the_engine_has_it(line: CommandLine) -> None:
    arguments = ("--image", "frontend", "--platform", native_platform().value)
    assert line.invoke("build.runtime", *arguments)[0] == 0
    leave_free(line.monkeypatch, 10**9)
    line.buildx(CACHE.format("12.3MB"))
    assert line.invoke("build.ci", *arguments)[0] == 6
    line.buildx(CACHE.format("6.02GB"))
    assert line.invoke("build.ci", *arguments)[0] == 0


def test_a_build_that_failed_is_asked_for_room_again(line: CommandLine) -> None:
    arguments = ("build.base", "--platform", native_platform().value)
    line.buildx("#!/bin/sh\nexit 17\n")
    assert line.invoke(*arguments)[0] == 7
    leave_free(line.monkeypatch, 10**6)
    assert line.invoke(*arguments)[0] == 6


def test_an_engine_that_dies_in_the_middle_is_exit_code_3(line: CommandLine) -> None:
    with socket.socket(socket.AF_UNIX) as engine:
        path = line.checkout.parent / "engine.sock"
        engine.bind(str(path))
        engine.listen()
        line.monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        line.buildx(f"#!/bin/sh\nrm '{path}'\necho 'ERROR: failed to receive status: EOF' >&2\nexit 17\n")
        code, _, complaints = line.invoke("build.base")
    assert code == 3
    assert "ERROR: failed to receive status: EOF" in complaints
    assert "stopped answering during this command" in complaints


def test_a_build_that_fails_is_exit_code_7(line: CommandLine) -> None:
    line.buildx("#!/bin/sh\necho 'ERROR: process \"/bin/false\" did not complete' >&2\nexit 17\n")
    code, _, complaints = line.invoke("build.base")
    assert code == 7
    assert 'ERROR: process "/bin/false" did not complete' in complaints
    assert "error: The command ended with exit code 17:\n" in complaints


UNTIL_TOLD = (
    '#!/bin/sh\necho begin >> "$STARTED"\nwhile [ ! -e "$STARTED.go" ]; do sleep 0.05; done\necho end >> "$STARTED"\n'
)


def beside(line: CommandLine, *arguments: str) -> subprocess.Popen[str]:
    """Start another `invoke` in the checkout, when the first build is at work."""
    while not line.started.exists():
        time.sleep(0.01)
    argv = (sys.executable, "-m", "invoke", *arguments, "--platform", native_platform().value)
    return subprocess.Popen(argv, cwd=line.checkout, stderr=subprocess.PIPE, text=True)


def go_on(line: CommandLine) -> None:
    Path(f"{line.started}.go").touch()


@pytest.mark.cli
def test_two_builds_of_the_same_at_once_the_second_waits_and_says_so(line: CommandLine) -> None:
    line.buildx(UNTIL_TOLD)
    with line.start("build.base", "--platform", native_platform().value) as first, beside(line, "build.base") as other:
        assert other.stderr is not None
        message = other.stderr.readline()
        go_on(line)
        first.communicate(timeout=60)
        other.communicate(timeout=60)
    assert message == f"Waiting for another build of base-base-debian-{native_platform().arch}\n"
    assert (first.returncode, other.returncode) == (0, 0)
    assert line.started.read_text(encoding="utf-8").split() == ["begin", "end", "begin", "end"]


@pytest.mark.cli
def test_the_build_of_a_smoke_session_waits_for_the_same_one(line: CommandLine) -> None:
    line.buildx(UNTIL_TOLD)
    copy2(Path(process_module.__file__).parents[1] / "noxfile.py", line.checkout)
    session = f"smoke-base({native_platform().arch})"
    with line.start("build.base", "--platform", native_platform().value) as first:
        while not line.started.exists():
            time.sleep(0.01)
        argv = (sys.executable, "-m", "nox", "-s", session)
        with subprocess.Popen(argv, cwd=line.checkout, stderr=subprocess.PIPE, text=True) as other:
            message = next(text for text in other.stderr or () if text.startswith(("Waiting for", "+ ")))
            go_on(line)
            first.communicate(timeout=60)
            other.communicate(timeout=60)
    assert message == f"Waiting for another build of base-base-debian-{native_platform().arch}\n"
    assert line.started.read_text(encoding="utf-8").split() == ["begin", "end", "begin", "end"]


@pytest.mark.cli
def test_two_builds_of_different_images_at_once_are_done_at_once(line: CommandLine) -> None:
    line.buildx(UNTIL_TOLD)
    with (
        line.start("build.base", "--platform", native_platform().value) as first,
        beside(line, "build.runtime", "--image", "frontend") as other,
    ):
        while line.started.read_text(encoding="utf-8").split() != ["begin", "begin"] and other.poll() is None:
            time.sleep(0.01)
        go_on(line)
        complaints = first.communicate(timeout=60)[1] + other.communicate(timeout=60)[1]
    assert (first.returncode, other.returncode) == (0, 0), complaints
    assert line.started.read_text(encoding="utf-8").split() == ["begin", "begin", "end", "end"]
    assert "Waiting" not in complaints


WAITING_BUILDX = """\
#!/bin/sh
[ "$1" = bake ] || exit 0
echo $$ > "$STARTED.new"
mv "$STARTED.new" "$STARTED"
exec sleep 60
"""


def started_build(line: CommandLine) -> subprocess.Popen[str]:
    """Start a build; return when buildx runs, which does not end by itself."""
    line.buildx(WAITING_BUILDX)
    process = line.start("build.base", "--platform", native_platform().value)
    deadline = time.monotonic() + 30
    while not line.started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


def has_ended(line: CommandLine) -> bool:
    """Return whether buildx ends soon: it does not exist any more, or only as a zombie."""
    stat = Path("/proc", line.started.read_text(encoding="utf-8").strip(), "stat")
    deadline = time.monotonic() + 10
    while stat.exists() and ") Z " not in stat.read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.01)
    return not stat.exists() or ") Z " in stat.read_text(encoding="utf-8")


@pytest.mark.cli
@pytest.mark.parametrize(
    ("number", "send", "code", "message"),
    [
        pytest.param(signal.SIGINT, os.killpg, 130, "interrupted", id="Ctrl-C at a terminal"),
        pytest.param(signal.SIGINT, os.kill, 130, "interrupted", id="SIGINT"),
        pytest.param(signal.SIGTERM, os.kill, 143, "terminated", id="SIGTERM"),
        pytest.param(signal.SIGHUP, os.kill, 129, "the terminal was closed", id="SIGHUP"),
    ],
)
def test_a_signal_during_a_build_ends_buildx_and_leaves_no_half_of_a_file(
    line: CommandLine, number: signal.Signals, send: Callable[[int, int], None], code: int, message: str
) -> None:
    with started_build(line) as process:
        send(process.pid, number)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == code
    assert complaints.endswith(f"\n{message}; nothing half-made is used later\n")
    assert "Traceback" not in complaints
    assert has_ended(line)
    json.loads(
        (line.checkout / f".build/bake-base-base-debian-{native_platform().arch}.json").read_text(encoding="utf-8")
    )
    last = report_of(line)
    assert (last.outcome, last.seconds > 0, last.failure and last.failure.exit_code) == ("interrupted", True, code)
    assert [path for path in line.checkout.rglob(".*") if path.is_file()] == []


@pytest.mark.cli
@pytest.mark.skipif(not Path("/usr/bin/setpriv").exists(), reason="util-linux is what asks the kernel for it")
def test_a_build_that_is_killed_takes_buildx_with_it(line: CommandLine) -> None:
    with started_build(line) as process:
        process.kill()
        process.communicate(timeout=20)
    assert has_ended(line)


@pytest.mark.parametrize("arguments", [("explain",), ("engine.environment",)], ids=["explain", "environment"])
@pytest.mark.cli
def test_a_task_whose_reader_has_gone_ends_quietly_by_the_signal_that_ends_any_unix_tool(
    line: CommandLine, arguments: tuple[str, ...]
) -> None:
    with line.start(*arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) == (-signal.SIGPIPE, "")


def test_lint_ends_with_1_and_names_the_place(line: CommandLine) -> None:
    line.append("containers/os/Dockerfile", "RUN curl https://example.invalid/x\n")
    code, output, complaints = line.invoke("lint")
    assert (code, complaints) == (1, "")
    assert output.startswith("1 finding (docs/reference/lint.md):\ncontainers/os/Dockerfile:")
    assert ": unchecked-download: a file is downloaded" in output


def test_two_words_after_diff_are_what_is_compared(line: CommandLine) -> None:
    code, output, complaints = line.invoke("diff", "constraints", "constraints/tools.txt")
    assert (code, output, complaints) == (0, "# constraints -> constraints/tools.txt\n\nNo differences.\n", "")


def report_of(line: CommandLine) -> record.BuildReport:
    report = record.read((line.checkout / state.LAST_REPORT).read_text(encoding="utf-8"))
    assert report is not None
    return report


DIGEST = f"sha256:{'12' * 32}"


def test_a_build_leaves_a_report(line: CommandLine) -> None:
    line.buildx(
        """#!/bin/sh
for word in "$@"; do
    case $word in --metadata-file=*) printf '%s' "$METADATA" > "${word#*=}" ;; esac
done
"""
    )
    metadata = {"base": {"buildx.build.ref": "default/default/x1", "containerimage.digest": DIGEST}}
    line.monkeypatch.setenv("METADATA", json.dumps(metadata))
    assert line.invoke("build.base", "--strict")[0] == 0
    report = report_of(line)
    assert (report.outcome, report.failure) == ("done", None)
    assert report.request.command == "invoke build.base --strict"
    assert report.records == {"default/default/x1": "base"}
    assert report.graph == {
        "builder": (),
        "tools": (),
        "base-nixl": ("builder", "tools"),
        "base-runtime": ("base-nixl", "tools"),
        "base-rest": ("base-runtime", "tools"),
        "base": ("base-rest", "tools"),
    }
    assert [(image.tag.partition(":")[0], image.digest) for image in report.images] == [("dynamo-base", DIGEST)]
    assert report.seconds > 0
    assert len(store.read(line.checkout)) == 1


def test_an_image_that_is_up_to_date_is_left_alone_and_any_other_is_built(line: CommandLine) -> None:
    line.buildx(
        """#!/bin/sh
echo "$@" >> "$STARTED"
for word in "$@"; do
    case $word in --metadata-file=*) printf '%s' "$METADATA" > "${word#*=}" ;; esac
done
"""
    )
    line.monkeypatch.setenv("METADATA", json.dumps({"base": {"containerimage.digest": DIGEST}}))
    assert line.invoke("build.base")[0] == 0
    tag = report_of(line).images[0].tag
    line.has(f"{tag} {DIGEST}")
    line.started.unlink()
    code, output, complaints = line.invoke("build.base")
    assert (code, output) == (0, "")
    assert re.fullmatch(rf"{tag} is up to date, {DIGEST[:19]}, \d+\.\d s\. Next: .*", complaints.splitlines()[-1])
    assert not line.started.exists()
    report = report_of(line)
    assert (report.outcome, [(image.tag, image.digest) for image in report.images]) == ("done", [(tag, DIGEST)])
    assert {target.name: target.state for target in report.targets or ()} == dict.fromkeys(report.graph, "cached")
    for stored in ((), (f"{tag} sha256:{'13' * 32}",), (f"another:1 {DIGEST}",)):
        line.has(*stored)
        assert line.invoke("build.base")[0] == 0
        assert line.started.exists()
        line.started.unlink()
    line.has(f"{tag} {DIGEST}")
    assert line.invoke("build.base")[2].splitlines()[-1].startswith(f"{tag} is up to date, ")
    line.append("containers/base/Dockerfile", "# one more\n")
    assert line.invoke("build.base")[0] == 0
    assert line.started.exists()


def test_the_report_of_a_build_with_a_cache_says_so_in_the_line_to_paste(line: CommandLine) -> None:
    line.buildx("#!/bin/sh\nexit 17\n")
    arguments = ("build.base", "--cache-from", "/srv/a cache", "--cache-to", "/srv/cache")
    line.invoke(*arguments)
    command = report_of(line).request.command
    assert command == "invoke build.base --cache-from '/srv/a cache' --cache-to /srv/cache"


def test_a_build_that_fails_leaves_a_report_too(line: CommandLine) -> None:
    line.buildx("#!/bin/sh\nexit 17\n")
    assert line.invoke("build.base")[0] == 7
    report = report_of(line)
    assert report.outcome == "failed"
    assert report.failure is not None
    assert (report.failure.phase, report.failure.exit_code) == ("building", 7)
    assert report.failure.message.startswith("The command ended with exit code 17:\n")


def test_a_failed_build_takes_no_record_of_the_one_before(line: CommandLine) -> None:
    document = line.checkout / f".build/bake-base-base-debian-{native_platform().arch}.metadata"
    document.parent.mkdir(exist_ok=True)
    document.write_text('{"base": {"buildx.build.ref": "default/default/old"}}', encoding="utf-8")
    line.buildx("#!/bin/sh\nexit 17\n")
    assert line.invoke("build.base")[0] == 7
    assert report_of(line).records == {}


def test_a_build_that_never_came_to_the_engine_leaves_a_report_too(line: CommandLine) -> None:
    line.append("requirements/base.in", "one-more==1\n")
    assert line.invoke("build.base")[0] == 4
    failure = report_of(line).failure
    assert failure is not None
    assert (failure.phase, failure.exit_code) == ("preparing", 4)


def test_a_dry_run_and_a_word_that_means_nothing_leave_no_report(line: CommandLine) -> None:
    assert line.invoke("-R", "build.base")[0] == 0
    assert line.invoke("build.runtime", "--image", "fronted")[0] == 2
    assert not (line.checkout / state.LAST_REPORT).exists()


def test_a_report_that_cannot_be_written_leaves_the_build_as_it_is(line: CommandLine) -> None:
    (line.checkout / state.REPORTS).parent.mkdir(exist_ok=True)
    (line.checkout / state.REPORTS).write_text("a file", encoding="utf-8")
    code, _, complaints = line.invoke("build.base")
    assert code == 0
    assert "No report of this build was written: " in complaints


def test_the_last_builds_are_shown_as_a_page(line: CommandLine) -> None:
    line.buildx("#!/bin/sh\nexit 17\n")
    line.invoke("build.base")
    code, output, _ = line.invoke("report")
    assert (code, output) == (0, f"{line.checkout}/.build/report.html\n")
    assert "invoke build.base" in (line.checkout / state.REPORT_PAGE).read_text(encoding="utf-8")


def test_a_report_before_any_build_says_what_to_run(line: CommandLine) -> None:
    code, output, complaints = line.invoke("report")
    assert (code, output) == (2, "")
    assert complaints == (
        "error: There are no reports of builds below .build/reports.\nBuild something: invoke build.base\n"
    )
    assert not (line.checkout / state.REPORT_PAGE).exists()


def test_the_help_of_a_report_needs_no_build(line: CommandLine) -> None:
    code, output, _ = line.invoke("report", "--help")
    assert code == 0
    assert "Write the last builds as one HTML page" in output


@pytest.mark.cli
def test_what_was_compiled_of_the_library_is_kept_as_python_was_started(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for variables, is_compiled in (({"PYTHONDONTWRITEBYTECODE": "1"}, False), ({}, True)):
        arguments = (sys.executable, "-m", "invoke", "--list")
        prefixed = {**environment, **variables, "PYTHONPYCACHEPREFIX": str(tmp_path)}
        subprocess.run(arguments, check=True, capture_output=True, cwd=catalogue.ROOT, env=prefixed)
        assert any(tmp_path.rglob("dynamo_containers/facts/catalogue.*.pyc")) is is_compiled
