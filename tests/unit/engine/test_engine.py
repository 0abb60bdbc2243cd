"""The private engine's decisions: which engine is used, who is refused and how, what is written, who is still alive."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_containers.engine import daemon, emulation, endpoint, host_checks, lifecycle
from dynamo_containers.engine.endpoint import Candidate, EngineCandidates
from dynamo_containers.engine.paths import EnginePaths
from dynamo_containers.errors import BusyError, NoEngineError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.platforms import Platform

PRIVATE = "unix:///run/dynamo-containers/0123456789ab/docker.sock"
DEFAULT = "unix:///var/run/docker.sock"
NAMED = "tcp://builder:2375"
CONTEXT = "unix:///home/me/.docker/desktop/docker.sock"
DEBIAN = host_checks.HostFeatures(root=True, distribution="debian", release="bookworm", glibc=(2, 36))
UNIX_PATH_MAX = 108
QEMU = """\
enabled
interpreter /usr/bin/qemu-aarch64-static
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


def seen(
    *,
    named: bool | None = None,
    context: bool | None = None,
    private: bool = False,
    current: bool | None = None,
    default: bool = False,
) -> EngineCandidates:
    """Return what a machine shows; for each engine whether it answers, None where nothing names it."""
    return EngineCandidates(
        docker_host=None if named is None else Candidate(host=NAMED, answers=named),
        docker_context=None if context is None else Candidate(host=CONTEXT, answers=context),
        private=Candidate(host=PRIVATE, answers=private),
        current_context=None if current is None else Candidate(host=CONTEXT, answers=current),
        default=Candidate(host=DEFAULT, answers=default),
    )


@pytest.mark.parametrize(
    ("machine", "address"),
    [
        pytest.param(seen(named=True, private=True, default=True), NAMED, id="DOCKER_HOST goes before all"),
        pytest.param(seen(context=True, private=True), CONTEXT, id="DOCKER_CONTEXT goes before the private one"),
        pytest.param(seen(named=True, context=True), NAMED, id="DOCKER_HOST goes before DOCKER_CONTEXT, as in docker"),
        pytest.param(
            seen(private=True, current=True, default=True), PRIVATE, id="the private one goes before defaults"
        ),
        pytest.param(seen(current=True, default=True), CONTEXT, id="the current context goes before the default"),
        pytest.param(seen(current=False, default=True), DEFAULT, id="a dead current context is passed over"),
        pytest.param(seen(default=True), DEFAULT, id="the default socket comes last"),
    ],
)
def test_the_engine_is_chosen_in_this_order(machine: EngineCandidates, address: str) -> None:
    """What the user named, then the private engine, then what docker itself would use."""
    engine = endpoint.choose(machine)
    assert engine is not None
    assert engine.host == address
    assert engine.private is (address == PRIVATE)


def test_where_nothing_answers_there_is_no_engine() -> None:
    """None, so that `up` may start one."""
    assert endpoint.choose(seen()) is None


@pytest.mark.parametrize(
    ("machine", "variable"), [(seen(named=False), "DOCKER_HOST"), (seen(context=False), "DOCKER_CONTEXT")]
)
def test_a_named_engine_that_does_not_answer_is_refused_by_name(machine: EngineCandidates, variable: str) -> None:
    """Another engine is never taken in the paths of the one that was named."""
    with pytest.raises(NoEngineError, match=f"{variable} names .*\n.*unset {variable}"):
        endpoint.choose(machine)


def test_without_an_engine_the_message_says_what_to_run(tmp_path: Path) -> None:
    """What, why, what next; exit code 3."""
    with pytest.raises(NoEngineError) as caught:
        endpoint.require(None, default=tmp_path / "docker.sock")
    assert caught.value.exit_code == 3
    assert "invoke engine.up" in str(caught.value)
    assert "https://docs.docker.com/engine/install/" in str(caught.value)


def test_a_default_socket_that_refuses_is_told_from_a_missing_one(tmp_path: Path) -> None:
    """The group docker is the usual reason."""
    (tmp_path / "docker.sock").touch()
    with pytest.raises(NoEngineError, match="group docker"):
        endpoint.require(None, default=tmp_path / "docker.sock")


def test_the_variables_of_a_shell_inside_the_private_engine_do_not_name_a_users_engine(tmp_path: Path) -> None:
    """DOCKER_HOST may be our own: then the private engine can be started again."""
    paths = EnginePaths(folder=tmp_path, runtime=tmp_path)
    variables = {"DOCKER_HOST": paths.host, "DOCKER_CONFIG": str(tmp_path)}
    assert endpoint.detect(paths, variables).docker_host is None


def test_a_socket_nobody_listens_at_does_not_answer(tmp_path: Path) -> None:
    """A file that a dead engine left behind looks like a socket."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert endpoint.accepts_connections(path)
    assert not endpoint.accepts_connections(path)
    assert not endpoint.accepts_connections(tmp_path / "none")


def test_the_address_of_a_context_is_read_from_dockers_own_store(tmp_path: Path) -> None:
    """Docker keeps a context under the sha256 of its name."""
    digest = "a51146d38077ff992eba84cf1d5e9b249073503eb74868699016153b031a38f7"
    folder = tmp_path / "contexts/meta" / digest
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text('{"Name": "lab", "Endpoints": {"docker": {"Host": "ssh://lab"}}}')
    assert endpoint.context_host(tmp_path, "lab") == "ssh://lab"
    assert endpoint.context_host(tmp_path, "default") == DEFAULT


def test_a_users_engine_with_docker_and_buildx_needs_no_variables(tmp_path: Path) -> None:
    """Nothing is added where nothing is missing."""
    (tmp_path / "docker").touch(mode=0o755)
    (tmp_path / "cli-plugins").mkdir()
    (tmp_path / "cli-plugins/docker-buildx").touch()
    variables = {"DOCKER_HOST": NAMED, "DOCKER_CONFIG": str(tmp_path), "PATH": str(tmp_path)}
    assert endpoint.environment(EnginePaths(folder=tmp_path, runtime=tmp_path), variables) == {}


def test_a_running_private_engine_is_given_with_its_own_client(tmp_path: Path) -> None:
    """DOCKER_HOST, DOCKER_CONFIG and PATH; PATH grows once only."""
    paths = EnginePaths(folder=tmp_path / "checkout", runtime=tmp_path)
    paths.run.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.socket))
        listener.listen()
        variables = endpoint.environment(paths, {"PATH": "/bin", "DOCKER_CONFIG": str(tmp_path)})
        assert variables == {
            "DOCKER_HOST": f"unix://{tmp_path}/{paths.name}/docker.sock",
            "DOCKER_CONFIG": f"{tmp_path}/checkout/.engine/docker",
            "PATH": f"{tmp_path}/checkout/.engine/client/usr/bin:/bin",
        }
        assert endpoint.environment(paths, variables) == variables


def test_the_socket_of_a_deep_checkout_fits_into_a_unix_address() -> None:
    """unix(7): 108 bytes, with the shims' and containerd's own sockets below the same folder."""
    paths = EnginePaths(folder=Path("/home/somebody") / "/".join(["a-deep-folder"] * 30))
    assert len(str(paths.run / "exec/containerd/containerd-debug.sock.ttrpc")) < UNIX_PATH_MAX
    assert paths.run != EnginePaths(folder=Path("/home/somebody/else")).run


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        (
            host_checks.HostFeatures(root=False, distribution="debian", release="bookworm", glibc=(2, 36)),
            "You are not root",
        ),
        (host_checks.HostFeatures(root=True, distribution="fedora", release="", glibc=(2, 40)), "not a Debian release"),
        (
            host_checks.HostFeatures(root=True, distribution="debian", release="bullseye", glibc=(2, 31)),
            "older than 2.34",
        ),
        (
            host_checks.HostFeatures(
                root=True, distribution="debian", release="trixie", glibc=(2, 41), lacking=("mount",)
            ),
            "missing: mount",
        ),
        (
            host_checks.HostFeatures(root=True, distribution="debian", release="trixie", glibc=(2, 41), tun=False),
            "/dev/net/tun",
        ),
        (
            host_checks.HostFeatures(
                root=True, distribution="debian", release="trixie", glibc=(2, 41), namespaces=False
            ),
            "namespaces",
        ),
        (
            host_checks.HostFeatures(root=True, distribution="debian", release="trixie", glibc=(2, 41), overlay=False),
            "Overlayfs",
        ),
    ],
)
def test_a_machine_that_cannot_run_the_engine_is_told_why(machine: host_checks.HostFeatures, sentence: str) -> None:
    """The message names what is missing and where Docker is to be had."""
    with pytest.raises(NoEngineError, match=sentence) as caught:
        host_checks.refuse(machine)
    assert str(caught.value).count("  - ") == 1
    assert str(caught.value).endswith("Install Docker instead: https://docs.docker.com/engine/install/")


def test_a_debian_machine_with_everything_is_not_refused() -> None:
    """No obstacle, no message."""
    assert host_checks.obstacles(DEBIAN) == ()


def test_everything_that_is_missing_is_named_at_once() -> None:
    """Nobody should mend one thing to be told of the next."""
    assert (
        len(
            host_checks.obstacles(
                host_checks.HostFeatures(root=False, distribution="", release="", glibc=(2, 31), tun=False)
            )
        )
        == 4
    )


def test_a_recorded_process_lives_only_with_its_own_start_time(tmp_path: Path) -> None:
    """A process id that was given to another must never be killed."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 4711 100 200\n")
    assert daemon.lives(daemon.Process(pid=7, start=4711), proc=tmp_path)
    assert not daemon.lives(daemon.Process(pid=7, start=4712), proc=tmp_path)
    assert not daemon.lives(daemon.Process(pid=8, start=4711), proc=tmp_path)
    assert not daemon.lives(None, proc=tmp_path)


def test_a_process_that_was_not_yet_reaped_does_not_live(tmp_path: Path) -> None:
    """A zombie keeps its id and its start time."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (unshare) Z 1 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 4711 100 200\n")
    assert not daemon.lives(daemon.Process(pid=7, start=4711), proc=tmp_path)


def test_the_kernels_own_record_of_this_process_is_understood() -> None:
    """The fake files above look like the real ones."""
    state, parent, start = daemon.parse_stat(Path("/proc/self/stat").read_text())
    assert (state, parent) == ("R", os.getppid())
    assert daemon.lives(daemon.Process(pid=os.getpid(), start=start))


def test_the_children_of_a_process_are_found(tmp_path: Path) -> None:
    """The first of them is process 1 of the engine's namespace."""
    for pid, parent in ((7, 1), (8, 7), (9, 8)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / f"{pid}/stat").write_text(f"{pid} (x) S {parent} 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 5{pid} 1 2\n")
    assert daemon.children(daemon.Process(pid=7, start=57), proc=tmp_path) == (daemon.Process(pid=8, start=58),)


@pytest.mark.parametrize("text", ["", "12", "12 x", "12 34 56", "x"])
def test_a_record_that_is_not_whole_is_no_process(text: str) -> None:
    """Nothing is killed on a guess."""
    assert daemon.parse_record(text) is None


def test_what_a_dead_engine_left_is_swept_but_for_the_claim_of_emulation(tmp_path: Path) -> None:
    """The claim is given up by `down`, which also removes the handler."""
    paths = EnginePaths(folder=tmp_path / "checkout", runtime=tmp_path / "run")
    (paths.run / "exec/containerd").mkdir(parents=True)
    paths.record.write_text("4194305 1\n")  # above the highest process id of Linux
    (paths.run / "docker.sock").touch()
    (paths.run / "emulates-aarch64").touch()
    daemon.sweep_dead(paths)
    assert [entry.name for entry in paths.run.iterdir()] == ["emulates-aarch64"]


def test_nothing_of_a_running_engine_is_swept(tmp_path: Path) -> None:
    """Its record names a process that lives: here, this one."""
    paths = EnginePaths(folder=tmp_path / "checkout", runtime=tmp_path / "run")
    paths.run.mkdir(parents=True)
    start = daemon.parse_stat(Path("/proc/self/stat").read_text())[2]
    paths.record.write_text(f"{os.getpid()} {start}\n")
    daemon.sweep(paths)
    assert paths.record.exists()


def test_stopping_what_does_not_run_says_so_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`down` can be run twice."""
    paths = EnginePaths(folder=tmp_path / "checkout", runtime=tmp_path / "run")
    lifecycle.down(paths)
    assert capsys.readouterr().err == "The private engine of this checkout does not run\n"
    assert not paths.runtime.exists()


def test_dockerd_is_configured_to_stay_within_its_own(tmp_path: Path) -> None:
    """Socket and run-time state in the run folder, images in the checkout, a cgroup of its own."""
    paths = EnginePaths(folder=tmp_path / "checkout", runtime=Path("/run/x"))
    settings = json.loads(daemon.daemon_config(paths))
    assert settings["hosts"] == [f"unix:///run/x/{paths.name}/docker.sock"]
    assert settings["data-root"] == f"{tmp_path}/checkout/.engine/data"
    assert settings["exec-root"] == f"/run/x/{paths.name}/exec"
    assert settings["features"] == {"containerd-snapshotter": True}
    assert settings["cgroup-parent"] == f"/dynamo-containers-{paths.name}"
    assert settings["dns"] == ["10.0.2.3"]


def test_the_engine_asks_slirps_name_server_in_the_hosts_domains() -> None:
    """The host's own servers may be unreachable from the namespace (127.0.0.53)."""
    text = "# made by x\nnameserver 127.0.0.53\noptions edns0\nsearch lab.example\n\n"
    assert daemon.resolv_conf(text) == "nameserver 10.0.2.3\noptions edns0\nsearch lab.example\n"


def test_the_users_logins_go_along_into_the_private_client() -> None:
    """Pulling the cuda bases needs them."""
    user = {"auths": {"registry.example": {"auth": "eA=="}}, "cliPluginsExtraDirs": ["/own", "/private"]}
    assert json.loads(daemon.client_config(user, "/private")) == {
        "auths": {"registry.example": {"auth": "eA=="}},
        "cliPluginsExtraDirs": ["/private", "/own"],
    }


def test_copied_logins_are_private_and_gone_when_the_engine_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = EnginePaths(folder=tmp_path)
    login, own = {"auth": "eA=="}, {"auth": "eQ=="}
    user = tmp_path / "user"
    user.mkdir()
    (user / "config.json").write_text(json.dumps({"auths": {"registry.example": login}}), encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(user))
    daemon.write_client_config(paths)
    file = paths.docker_config / "config.json"
    content = json.loads(file.read_bytes())
    assert content["auths"] == {"registry.example": login}
    file.chmod(0o644)  # as an earlier version of this library wrote it
    daemon.write_client_config(paths)
    assert file.stat().st_mode & 0o777 == 0o600
    content["auths"]["other.example"] = own  # docker login, under `invoke engine.environment`
    file.write_text(json.dumps(content), encoding="utf-8")
    daemon.forget_logins(paths)
    assert json.loads(file.read_bytes())["auths"] == {"other.example": own}
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_arm64_handler_is_registered_under_our_own_name() -> None:
    """The line that was seen working, with C added: without it sudo has no effect in an emulated container."""
    assert emulation.registration(Platform.ARM64, "/q") == (
        r":dynamo-containers-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/q:POCF"
    )


def test_an_amd64_handler_differs_by_the_elf_machine() -> None:
    """EM_X86_64 is 62."""
    assert r"\x02\x00\x3e\x00:" in emulation.registration(Platform.AMD64, "/q")


@pytest.mark.parametrize(
    ("entry", "works"),
    [
        pytest.param(QEMU, True, id="enabled"),
        pytest.param(QEMU.replace("enabled", "disabled"), False, id="disabled"),
        pytest.param(QEMU.replace("POCF", "POC"), False, id="its interpreter would be looked for in the container"),
        pytest.param(QEMU.replace("b700", "3e00"), False, id="of another architecture"),
        pytest.param(QEMU.replace("7f454c4602", "7f454c4601"), False, id="of 32 bits"),
        pytest.param("enabled\ninterpreter /usr/bin/python3\nflags: F\nextension .pyc\n", False, id="no ELF"),
    ],
)
def test_a_handler_counts_only_when_it_works_inside_of_containers(entry: str, *, works: bool) -> None:
    """As the kernel shows it in /proc/sys/fs/binfmt_misc."""
    assert emulation.emulates(entry, Platform.ARM64) is works


def test_a_handler_of_somebody_else_is_preferred_to_ours() -> None:
    """What is there is used as it is found."""
    own = emulation.handler_name(Platform.ARM64)
    assert emulation.handler({own: QEMU, "qemu-aarch64": QEMU}, Platform.ARM64) == "qemu-aarch64"
    assert emulation.handler({own: QEMU}, Platform.ARM64) == own
    assert emulation.handler({}, Platform.ARM64) is None


def test_our_handler_stays_until_the_last_checkout_gives_it_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one register per kernel: the engine of another checkout may rely on what we registered."""
    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    own = tmp_path / emulation.handler_name(Platform.ARM64)
    own.touch()
    first, second = (EnginePaths(folder=tmp_path / name, runtime=tmp_path / "run") for name in ("first", "second"))
    emulation.claim(first, Platform.ARM64)
    emulation.claim(second, Platform.ARM64)
    emulation.release(first)
    assert own.read_text() == ""
    emulation.release(second)
    assert own.read_text() == "-1"


def test_a_handler_that_was_never_claimed_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `down` without an `up` changes nothing."""
    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    own = tmp_path / emulation.handler_name(Platform.ARM64)
    own.touch()
    emulation.release(EnginePaths(folder=tmp_path, runtime=tmp_path / "run"))
    assert own.read_text() == ""


def test_a_platform_that_cannot_be_mended_is_refused_with_the_reason() -> None:
    """The engine of another machine, or a user who may not register an emulator."""
    unprivileged = host_checks.HostFeatures(root=False, distribution="debian", release="bookworm", glibc=(2, 36))
    with pytest.raises(NoEngineError, match=r"linux/arm64 cannot run here: .* another machine"):
        lifecycle.refuse_emulation(Platform.ARM64, DEBIAN, local=False)
    with pytest.raises(NoEngineError, match="you are not root"):
        lifecycle.refuse_emulation(Platform.ARM64, unprivileged, local=True)
    lifecycle.refuse_emulation(Platform.ARM64, DEBIAN, local=True)


def test_a_second_command_is_told_that_the_first_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits, and gives up at last."""
    monkeypatch.setattr(lifecycle, "BUSY_SECONDS", 0)
    paths = EnginePaths(folder=tmp_path, runtime=tmp_path)
    with lifecycle.locked(paths), pytest.raises(BusyError, match="still runs"), lifecycle.locked(paths):
        pass


def test_the_environment_is_asked_for_without_loading_what_starts_processes() -> None:
    """It is in the path of every build that has nothing to do."""
    script = (
        "import sys, dynamo_containers.engine; print({'subprocess', 'urllib.request', 'tomllib'} & set(sys.modules))"
    )
    argv = (sys.executable, "-c", script)
    assert subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "set()\n"
