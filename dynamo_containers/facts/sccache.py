"""sccache.toml: where compilers share what they made, and the secret that gives compile steps access.

Nothing of it is in a bake document, an argument or a layer, and a secret is no part of a step's key: docs/adr/0026.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
"""The variable that says where a storage is -> those that say more of it (sccache's docs/Configuration.md).

The size of the local folder alone means that folder: it is a cache mount of the engine, and so of one machine.
"""
FILES = re.compile(r"SCCACHE_(DIR|CONF|ERROR_LOG|GCS_KEY_PATH)|AWS_(PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE)")
"""Variables whose value is a file of this machine."""
HERE = re.compile(r"localhost|127[.].*|::1")


def secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secret of bake that lets steps compile through sccache; none where no file asks for it.

    Raises:
        UsageError: the file that the variable names is missing, or its content is wrong.
    """
    table = user_config.read(environment, VARIABLE, USER_FILE)
    if table is None:
        return ()
    table.is_secret = True
    _check(table)
    return (f"id=sccache,src={user_config.path(environment, VARIABLE, USER_FILE)}",)


def _check(table: Table) -> None:
    """Refuse what sccache would not understand in a step. No message has a value: it may be a password."""
    for name in filter(FILES.fullmatch, table.keys_left()):
        message = f"{table.file}: {name} names a file of this machine, and a step that compiles does not see it.\n"
        raise UsageError(
            message + f"Write down what is in it, by the variables of docs/how-to/caches.md, in {table.file}."
        )
    named = [name for name in STORAGES if name in table.keys_left()]
    if len(named) != 1:
        what = f"{' and '.join(named)} are two storages" if named else "no variable says where the storage is"
        message = f"{table.file}: {what}. Say one of: {', '.join(STORAGES)}.\nEdit {table.file} and run again."
        raise UsageError(message)
    known = {name: table.string(name, optional=True) for name in (*named, *STORAGES[named[0]])}
    table.refuse_the_rest()
    _check_endpoint(table, {name: value for name, value in known.items() if name.endswith("ENDPOINT") and value})


def _check_endpoint(table: Table, endpoints: Mapping[str, str]) -> None:
    for name, value in endpoints.items():
        where = urlsplit(value if "://" in value else f"//{value}")
        if where.username or where.password:
            message = f"{table.file}: {name} has a user or a password, and addresses are shown.\n"
            raise UsageError(message + f"Give them variables of their own in {table.file}: docs/how-to/caches.md")
        if HERE.fullmatch(where.hostname or ""):
            message = f"{table.file}: {name} is {where.hostname}, which in a step that compiles is the step itself.\n"
            raise UsageError(message + "Name the machine by an address that the engine reaches.")
