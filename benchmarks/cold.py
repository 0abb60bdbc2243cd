"""Duration of the first command of the README in a fresh clone, and of a build with a warm engine.

The clone shares nothing with this checkout, not even downloads. The clone and its engine are removed afterwards.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from dynamo_containers import process
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.state import IMAGES

COLD_SECONDS = 240
WARM_ENGINE_SECONDS = 60
ENTER = 'cd "$0" && exec ./with-tools "$@"'


def in_clone(clone: Path, *argv: str) -> float:
    """Run a command in the clone with the tools of the clone; return its duration."""
    # The engine and the tools of this checkout must not be used.
    inherited = {name: "" for name in os.environ if name.startswith(("DOCKER_", "VIRTUAL_ENV", "NOX_"))}
    start = time.perf_counter()
    with clone.joinpath("bench.log").open("a", encoding="utf-8") as log:
        log.write(process.capture(process.Command(argv=("sh", "-c", ENTER, str(clone), *argv), env=inherited)))
    return time.perf_counter() - start


def main() -> int:
    """Print the duration of each case with its limit."""
    with TemporaryDirectory(prefix="bench-", dir=ROOT / ".build") as scratch:
        clone = Path(scratch) / "clone"
        process.capture(process.Command(argv=("git", "clone", "--quiet", str(ROOT), str(clone))))
        try:
            cold = in_clone(clone, "invoke", "engine.up", "build.base")
            # A warm engine runs and has downloads, but no root image, no layer and no cache.
            rmtree(clone / ".build" / "roots")
            rmtree(clone / IMAGES)
            forget = 'eval "$(invoke engine.environment)"; docker buildx prune --all --force'
            in_clone(clone, "sh", "-c", forget)
            warm = in_clone(clone, "invoke", "build.base")
        finally:
            in_clone(clone, "invoke", "engine.down", "--purge")
    print(f"fresh clone, `engine.up build.base`      {cold:6.1f} s  (limit {COLD_SECONDS})")
    print(f"warm engine, nothing built, `build.base` {warm:6.1f} s  (limit {WARM_ENGINE_SECONDS})")
    return 0 if cold <= COLD_SECONDS and warm <= WARM_ENGINE_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
