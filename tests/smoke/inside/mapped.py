"""List of the libraries that an engine really loads, after the import of modules and the start of a NIXL agent.

mapped.py MODULE...: one JSON document on the last line of standard output.
"""

import importlib
import json
import sys
from pathlib import Path


def import_modules(names: list) -> dict:
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - each module is reported, whatever it raises
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def agent_plugins() -> list:
    """Load NIXL and UCX as a worker does, and return the plugins."""
    from nixl._api import nixl_agent, nixl_agent_config

    agent = nixl_agent("probe", nixl_agent_config(backends=["UCX"]))
    return sorted(agent.get_plugin_list())


def mapped() -> list:
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return sorted({line.split(maxsplit=5)[5] for line in lines if ".so" in line})


def main() -> None:
    failed = import_modules(sys.argv[1:])
    plugins = agent_plugins()
    print(json.dumps({"failed": failed, "plugins": plugins, "mapped": mapped()}), flush=True)


if __name__ == "__main__":
    main()
