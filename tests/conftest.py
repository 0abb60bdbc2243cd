"""Every test run: SIGTERM and a closed terminal end it as Ctrl-C does, so that fixtures stop what they started."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dynamo_containers import signals

if TYPE_CHECKING:
    import pytest

WHOLE_RUN = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Take over the signals; pytest treats `Stopped` as the KeyboardInterrupt that it is."""
    signals.install()
    config.add_cleanup(WHOLE_RUN.close)
    WHOLE_RUN.enter_context(signals.interruptible())
