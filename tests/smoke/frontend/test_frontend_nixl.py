"""NIXL moves memory inside the frontend image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.smoke.containers import MOUNTED, SCRIPTS

if TYPE_CHECKING:
    from tests.smoke.containers import Engine


def test_nixl_moves_a_mebibyte_between_two_agents(engine: Engine, image: str) -> None:
    command = ("sh", "-c", f'exec python -B {MOUNTED}/nixl_transfer.py "$NIXL_PREFIX"')
    options = ("--network", "none", *SCRIPTS)
    answer = json.loads(engine.run(image, command, name="nixl", options=options, seconds=60).splitlines()[-1])
    assert (answer["bytes"], answer["equal"]) == (1048576, True)
    assert "UCX" in answer["plugins"]
