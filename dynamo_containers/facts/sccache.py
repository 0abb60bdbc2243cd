"""sccache.toml: the shared cache of compilers, and the secret that gives targets access to it.

Its content is in no bake document, build argument or layer, and a secret does not change cache keys: docs/adr/0026.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dynamo_containers import spelling
from dynamo_containers.errors import UsageError
from dynamo_containers.facts import user_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.toml_table import Table

VARIABLE, USER_FILE = user_config.SCCACHE
STORAGES: Mapping[str, tuple[str, ...]] = {
    "SCCACHE_BUCKET": (
        "SCCACHE_REGION",
        "SCCACHE_ENDPOINT",
        "SCCACHE_S3_USE_SSL",
        "SCCACHE_S3_KEY_PREFIX",
        "SCCACHE_S3_NO_CREDENTIALS",
        "SCCACHE_S3_RW_MODE",
        "SCCACHE_S3_SERVER_SIDE_ENCRYPTION",
        "SCCACHE_S3_ENABLE_VIRTUAL_HOST_STYLE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ),
    "SCCACHE_REDIS_ENDPOINT": (
        "SCCACHE_REDIS_USERNAME",
        "SCCACHE_REDIS_PASSWORD",
        "SCCACHE_REDIS_DB",
        "SCCACHE_REDIS_EXPIRATION",
        "SCCACHE_REDIS_KEY_PREFIX",
        "SCCACHE_REDIS_RW_MODE",
    ),
    "SCCACHE_MEMCACHED_ENDPOINT": (
        "SCCACHE_MEMCACHED_USERNAME",
        "SCCACHE_MEMCACHED_PASSWORD",
        "SCCACHE_MEMCACHED_EXPIRATION",
        "SCCACHE_MEMCACHED_KEY_PREFIX",
        "SCCACHE_MEMCACHED_RW_MODE",
    ),
    "SCCACHE_WEBDAV_ENDPOINT": (
        "SCCACHE_WEBDAV_USERNAME",
        "SCCACHE_WEBDAV_PASSWORD",
        "SCCACHE_WEBDAV_TOKEN",
        "SCCACHE_WEBDAV_KEY_PREFIX",
        "SCCACHE_WEBDAV_RW_MODE",
    ),
    "SCCACHE_CACHE_SIZE": (),
}
"""The variable with the address of a storage -> its other variables (docs/Configuration.md of sccache).

The size alone selects the local folder, which is a cache mount of the engine, and so of one machine.
"""
FILES = re.compile(r"SCCACHE_(DIR|CONF|ERROR_LOG|GCS_KEY_PATH)|AWS_(PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE)")
"""Variables whose value is a file on this machine."""
LOOPBACK = re.compile(r"localhost|127[.].*|::1")


def secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the bake secret for sccache; none if there is no file.

    Raises:
        UsageError: the file that the variable names is missing, or its content is invalid.
    """
    table = user_config.read(environment, VARIABLE, USER_FILE)
    if table is None:
        return ()
    _check(table)
    return (spelling.attributes(id="sccache", src=str(user_config.path(environment, VARIABLE, USER_FILE))),)


def _check(table: Table) -> None:
    """Refuse values that sccache cannot use in a target. Messages have no values: they may be passwords."""
    for name in filter(FILES.fullmatch, table.keys_left()):
        message = f"{table.file}: {name} is a file on this machine, which a build cannot read.\n"
        raise UsageError(message + f"Use the variables of docs/how-to/caches.md in {table.file} instead.")
    named = [name for name in STORAGES if name in table.keys_left()]
    if len(named) != 1:
        problem = f"{' and '.join(named)} are two storages" if named else "no storage is set"
        message = f"{table.file}: {problem}. Set one of: {', '.join(STORAGES)}.\nEdit {table.file} and run again."
        raise UsageError(message)
    values = {name: table.string(name, optional=True) for name in (*named, *STORAGES[named[0]])}
    table.refuse_the_rest()
    _check_endpoint(table, {name: value for name, value in values.items() if name.endswith("ENDPOINT") and value})


def _check_endpoint(table: Table, endpoints: Mapping[str, str]) -> None:
    for name, value in endpoints.items():
        address = urlsplit(value if "://" in value else f"//{value}")
        if address.username or address.password:
            message = f"{table.file}: {name} contains a user or a password, and addresses are shown in logs.\n"
            raise UsageError(message + f"Use the variables for them in {table.file}: docs/how-to/caches.md")
        if LOOPBACK.fullmatch(address.hostname or ""):
            message = f"{table.file}: {name} is {address.hostname}, which is the container itself during a build.\n"
            raise UsageError(message + "Use an address of the machine that the engine can reach.")
