"""A headless Chromium without a network, spoken to as its developer tools do (DevTools protocol, over two pipes).

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
"""Where Debian's package has it; the script /usr/bin/chromium looks for it at that place of the host alone."""
SECONDS = 60
AS_3_AND_4 = (
    "import os, sys; one, other = map(os.dup, map(int, sys.argv[1:3]));"
    "os.dup2(one, 3); os.dup2(other, 4); os.set_inheritable(3, True); os.set_inheritable(4, True);"
    "os.execvp(sys.argv[3], sys.argv[3:])"
)
"""It reads calls from descriptor 3 and answers on 4; a shell names none above 9."""
SILENT = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


def program() -> tuple[str, dict[str, str]]:
    """Return Debian's Chromium, unpacked where the host has none, and the variables under which it runs."""
    if which("chromium"):
        return "chromium", dict(os.environ)
    found = {**os.environ, **host_tools.environment(ROOT, ("chromium",))}
    root = next(Path(each).parents[1] for each in found["PATH"].split(os.pathsep) if (Path(each) / "chromium").exists())
    # libpulse looks for a part of it at that place of the host alone, as its RUNPATH says.
    private = [str(folder) for folder in root.glob("usr/lib/*/pulseaudio")]
    found["LD_LIBRARY_PATH"] = os.pathsep.join([found["LD_LIBRARY_PATH"], *private])
    return str(root / PROGRAM), found


class Page:
    """A page that is open, and what it asked for and complained of."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers = to, os.fdopen(answers, "rb", closefd=False)
        self._number, self._session = 0, ""
        self.asked: list[str] = []
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
        said: dict[str, Any] = json.loads(text)
        if said.get("method") == "Network.requestWillBeSent":
            self.asked.append(said["params"]["request"]["url"])
        if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(said["params"]))
        return said

    def wait(self, event: str) -> None:
        """Read what the browser says until it says this."""
        while self._next().get("method") != event:
            pass

    def open(self, address: str) -> None:
        """Open an address in a page of its own, without a network and without scripts."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.call("Emulation.setScriptExecutionDisabled", value=True)
        self.call("Page.navigate", url=address)
        self.wait("Page.loadEventFired")

    def look(self, width: int, height: int, scheme: str) -> None:
        """Be a screen of this size that prefers `light` or `dark`."""
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> object:
        """Return what an expression is on the page."""
        found: object = self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")
        return found

    def screenshot(self, file: Path) -> bytes:
        """Write the whole page as a picture."""
        said = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        picture = base64.b64decode(said["data"])
        file.write_bytes(picture)
        return picture


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """Open an address in a Chromium whose network namespace has nothing, not even loopback."""
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
                page = Page(ours_out, ours_in)
                page.open(address)
                yield page
            finally:
                process.terminate()
                process.wait(SECONDS)
                os.close(ours_in)
                os.close(ours_out)
