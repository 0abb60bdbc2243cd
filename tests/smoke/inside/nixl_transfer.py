"""Transfer of 1 MiB from one NIXL agent into the memory of another: nixl_transfer.py FOLDER [WHEEL].

FOLDER has an unpacked NIXL wheel (WHEEL is unpacked there first). The bindings are loaded from their file, because the
Python package of NIXL imports torch, which an image without an engine does not have.
"""

import ctypes
import importlib.util
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from types import ModuleType

SIZE = 1 << 20
SECONDS = 120


def bindings(folder: Path) -> ModuleType:
    file = next(folder.glob("nixl_cu*/_bindings*.so"))
    spec = importlib.util.spec_from_file_location("_bindings", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def agent(nixl: ModuleType, name: str) -> tuple:
    configuration = nixl.nixlAgentConfig()
    configuration.useProgThread = True
    nixl_agent = nixl.nixlAgent(name, configuration)
    return nixl_agent, nixl_agent.createBackend("UCX", {})


def region(nixl: ModuleType, nixl_agent: object, backend: int, buffer: ctypes.Array) -> object:
    """Register a buffer with an agent. Descriptors are added one by one, because a list of them would need numpy."""
    address = ctypes.addressof(buffer)
    registered, descriptors = nixl.nixlRegDList(nixl.DRAM_SEG), nixl.nixlXferDList(nixl.DRAM_SEG)
    registered.addDesc((address, SIZE, 0, ""))
    descriptors.addDesc((address, SIZE, 0))
    nixl_agent.registerMem(registered, [backend])
    return descriptors


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        with zipfile.ZipFile(sys.argv[2]) as wheel:
            wheel.extractall(folder)
        # The wheel finds its plugins next to its library; this variable helps a loader that starts late.
        os.environ.setdefault("NIXL_PLUGIN_DIR", str(next(folder.glob(".nixl_cu*.mesonpy.libs/plugins"))))
    nixl = bindings(folder)
    sent = ctypes.create_string_buffer(os.urandom(SIZE), SIZE)
    received = ctypes.create_string_buffer(SIZE)
    sender, sender_backend = agent(nixl, "sender")
    receiver, receiver_backend = agent(nixl, "receiver")
    plugins = sorted(sender.getAvailPlugins())
    source = region(nixl, sender, sender_backend, sent)
    target = region(nixl, receiver, receiver_backend, received)
    peer = sender.loadRemoteMD(receiver.getLocalMD())
    peer = peer.decode() if isinstance(peer, bytes) else peer
    request = sender.createXferReq(nixl.NIXL_WRITE, source, target, peer, b"done", [sender_backend])
    status = sender.postXferReq(request, b"done")
    begin = time.monotonic()
    while status == nixl.NIXL_IN_PROG and time.monotonic() < begin + SECONDS:
        time.sleep(0.001)
        status = sender.getXferStatus(request)
    seconds = round(time.monotonic() - begin, 3)
    equal = status == nixl.NIXL_SUCCESS and received.raw == sent.raw
    sender.releaseXferReq(request)
    print(json.dumps({"bytes": SIZE, "equal": equal, "plugins": plugins, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
