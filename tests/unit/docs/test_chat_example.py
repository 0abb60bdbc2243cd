"""The example of the README always removes its container; a script takes the place of docker."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCKER = """\
#!/bin/sh
echo "$*" >>"$CALLS"
case "$1 $2" in
"version --format") echo amd64 ;;
"image ls") echo "$IMAGE" ;;
"run --detach") echo abc ;;
"exec abc") [ "$3" = python ] && echo "assistant: hello" || [ "$SERVES" = yes ] ;;
"inspect --format") echo false ;;
esac
"""


def chat(tmp_path: Path, *, image: str, serves: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    (tmp_path / "docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "invoke").write_text("#!/bin/sh\n", encoding="utf-8")
    for name in ("docker", "invoke"):
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "IMAGE": image,
        "SERVES": serves,
    }
    finished = subprocess.run(
        [ROOT / "examples/chat/chat", "hi?"], env=environment, check=False, capture_output=True, text=True
    )
    return finished, calls.read_text(encoding="utf-8").splitlines()


@pytest.mark.cli
def test_an_answer_is_printed_and_the_container_is_removed(tmp_path: Path) -> None:
    finished, calls = chat(tmp_path, image="dynamo-frontend:1.4.2-debian-amd64", serves="yes")
    assert (finished.returncode, finished.stdout) == (0, "assistant: hello\n")
    assert "--network none" in calls[2]
    assert calls[-1] == "rm --force --volumes abc"


@pytest.mark.cli
def test_a_container_that_does_not_serve_is_an_error_and_is_removed(tmp_path: Path) -> None:
    finished, calls = chat(tmp_path, image="dynamo-frontend:1.4.2-debian-amd64", serves="no")
    assert finished.returncode == 1
    assert "error: Dynamo does not serve" in finished.stderr
    assert calls[-1] == "rm --force --volumes abc"


@pytest.mark.cli
def test_without_an_image_it_says_how_to_build_one(tmp_path: Path) -> None:
    finished, calls = chat(tmp_path, image="", serves="yes")
    assert finished.returncode == 1
    assert "Build it: ./with-tools invoke build.runtime --image frontend" in finished.stderr
    assert not any(call.startswith("run ") for call in calls)
