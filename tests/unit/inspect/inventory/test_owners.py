from __future__ import annotations

from dynamo_containers.inspect.inventory import owners
from dynamo_containers.inspect.inventory.components import ComponentKind, ImageInventory, InventoryComponent

VENV = "opt/dynamo/venv/lib/python3.11/site-packages"
LISTS = {
    "var/lib/dpkg/info/libc6:amd64.list": "/.\n/lib/x86_64-linux-gnu/libc.so.6\n",
    f"{VENV}/typing_extensions-4.1.dist-info/RECORD": "typing_extensions.py,sha256=x,1\n../../../bin/tool,,\n",
}
PATHS = (
    "usr/lib/x86_64-linux-gnu/libc.so.6",
    f"{VENV}/typing_extensions.py",
    f"{VENV}/__pycache__/typing_extensions.cpython-311.pyc",
    "opt/dynamo/venv/bin/tool",
    "usr/local/bin/etcd",
)


def inventory(*rows: tuple[ComponentKind, str, str]) -> ImageInventory:
    components = tuple(
        InventoryComponent(kind=kind, name=name, version=version, purl=f"pkg:x/{name}", layer="os", origin="lock")
        for kind, name, version in rows
    )
    return ImageInventory(
        image="vllm",
        stage="runtime",
        bases="debian",
        platform="linux/amd64",
        repository="vllm-runtime",
        version="1",
        tag="vllm-runtime:1",
        epoch=0,
        components=components,
        notes=(),
    )


COMPLETE = inventory(
    (ComponentKind.DEB, "libc6", "2.36"),
    (ComponentKind.PYTHON, "typing-extensions", "4.1"),
    (ComponentKind.BINARY, "etcd", "3.5"),
)


def test_every_file_of_a_listed_package_has_an_owner() -> None:
    owned = owners.owners(LISTS, {"/usr/local/bin/etcd": "etcd"})
    assert owners.unlisted(PATHS, owned, COMPLETE) == {}


def test_a_file_without_an_owner_and_one_of_a_package_that_is_not_listed_are_gaps() -> None:
    owned = owners.owners(LISTS, {})
    found = owners.unlisted(PATHS, owned, inventory((ComponentKind.PYTHON, "typing-extensions", "4.0")))
    assert found == {
        "usr/lib/x86_64-linux-gnu/libc.so.6": "deb libc6",
        f"{VENV}/typing_extensions.py": "python typing-extensions==4.1",
        f"{VENV}/__pycache__/typing_extensions.cpython-311.pyc": "python typing-extensions==4.1",
        "opt/dynamo/venv/bin/tool": "python typing-extensions==4.1",
        "usr/local/bin/etcd": "",
    }


def test_lists_are_told_from_other_files() -> None:
    assert all(owners.is_list(path) for path in LISTS)
    assert not owners.is_list("var/lib/dpkg/status")
