"""How long does a newcomer wait? The README's first command in a clone of its own, then again with less to do.

Nothing is shared with this checkout, not even downloads. The clone and its engine are removed afterwards.
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


def in_clone(clone: Path, *words: str) -> float:
    """Run a command of the clone with its own tools; return its seconds."""
    # Neither the engine nor the tools of this checkout may help.
    inherited = {name: "" for name in os.environ if name.startswith(("DOCKER_", "VIRTUAL_ENV", "NOX_"))}
    start = time.perf_counter()
    with clone.joinpath("bench.log").open("a", encoding="utf-8") as log:
        log.write(process.capture(process.Command(argv=("sh", "-c", ENTER, str(clone), *words), env=inherited)))
    return time.perf_counter() - start


def main() -> int:
    """Print the seconds of each state beside its limit."""
    with TemporaryDirectory(prefix="bench-", dir=ROOT / ".build") as scratch:
        clone = Path(scratch) / "clone"
        process.capture(process.Command(argv=("git", "clone", "--quiet", str(ROOT), str(clone))))
        try:
            cold = in_clone(clone, "invoke", "engine.up", "build.base")
            # A warm engine: it runs and downloads are there, but no root image, no layer and no cache.
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
