"""Headless Chromium without a network, controlled by the DevTools protocol over two pipes.

The pipes need no library for web sockets, and playwright would be 45 MB of tools for everybody who builds.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.upstream import host_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path("usr/lib/chromium/chromium")
"""Path of Chromium in the package of Debian; the script /usr/bin/chromium only works on the host itself."""
SECONDS = 60
AS_3_AND_4 = (
    "import os, sys; first, second = map(os.dup, map(int, sys.argv[1:3]));"
    "os.dup2(first, 3); os.dup2(second, 4); os.set_inheritable(3, True); os.set_inheritable(4, True);"
    "os.execvp(sys.argv[3], sys.argv[3:])"
)
"""Chromium reads calls from descriptor 3 and answers on 4; a shell has no descriptors above 9."""
SILENT = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


def program() -> tuple[str, dict[str, str]]:
    """Return the Chromium of Debian and its environment; it is unpacked if the host has none."""
    if which("chromium"):
        return "chromium", dict(os.environ)
    environment = {**os.environ, **host_tools.environment(ROOT, ("chromium",))}
    root = next(
        Path(folder).parents[1]
        for folder in environment["PATH"].split(os.pathsep)
        if (Path(folder) / "chromium").exists()
    )
    # The RUNPATH of libpulse only names a folder of the host.
    private = [str(folder) for folder in root.glob("usr/lib/*/pulseaudio")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([environment["LD_LIBRARY_PATH"], *private])
    return str(root / PROGRAM), environment


class BrowserPage:
    """An open page with its requests and errors."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers = to, os.fdopen(answers, "rb", closefd=False)
        self._number, self._session = 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has gone"
            text += byte
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(message["params"]))
        return message

    def wait(self, event: str) -> None:
        """Read messages of the browser until an event."""
        while self._next().get("method") != event:
            pass

    def open(self, address: str) -> None:
        """Open an address in a new page, without a network and without scripts."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.call("Emulation.setScriptExecutionDisabled", value=True)
        self.call("Page.navigate", url=address)
        self.wait("Page.loadEventFired")

    def look(self, width: int, height: int, scheme: str) -> None:
        """Emulate a screen of a size that prefers `light` or `dark`."""
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> object:
        """Return the value of an expression on the page."""
        result: object = self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")
        return result

    def screenshot(self, file: Path) -> bytes:
        """Write a screenshot of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        picture = base64.b64decode(answer["data"])
        file.write_bytes(picture)
        return picture


@contextmanager
def opened(address: str) -> Iterator[BrowserPage]:
    """Open an address in a Chromium whose network namespace is empty, without loopback."""
    name, environment = program()
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    with TemporaryDirectory() as profile:
        argv = (
            *("unshare", "--map-root-user", "--net", "timeout", f"{SECONDS}"),
            *(sys.executable, "-c", AS_3_AND_4, str(theirs_in), str(theirs_out), name),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
            *(*SILENT, f"--user-data-dir={profile}", "about:blank"),
        )
        with subprocess.Popen(
            argv,
            env=environment,
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            os.close(theirs_in)
            os.close(theirs_out)
            try:
                page = BrowserPage(ours_out, ours_in)
                page.open(address)
                yield page
            finally:
                process.terminate()
                process.wait(SECONDS)
                os.close(ours_in)
                os.close(ours_out)
