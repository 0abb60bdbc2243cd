"""The library behind `invoke` and `nox`: facts -> a pure plan -> one module that runs it.

Each room imports only rooms below it (docs/explanation/architecture.md, tests/unit/test_architecture.py):

    builds/                           `invoke build.*`, `invoke run`, `invoke clean`, the smoke sessions
    inspect/   lock/   lint/          `invoke explain`, `diff`, `report` | `invoke lock` | `invoke lint`
    prepare/                          pins -> files on this machine; the inputs of a build are put together here
    plan/                             pure: a request and its inputs -> bake document and commands
    engine/                           the Docker Engine in use
    upstream/                         whoever is asked outside: apt, registries, git, indexes, downloads
    facts/                            what is written down: images.toml, pins, locks, user configuration; read only
    errors process progress file_lock platforms toml_table spelling state broken_pipe signals      single modules

The tag of an image is made by `plan.bake.tag`. A lock is compared with its inputs by `lock.check`. The message for a
dead engine is written by `engine.watched`. Only `process` starts processes.
"""
