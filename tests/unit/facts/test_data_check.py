"""Values of hand-written data: each is of its type, or is refused by file, key and what is allowed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import state
from dynamo_containers.errors import UsageError
from dynamo_containers.facts import data_check, mirrors, sccache, user_config
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.plan import builders, caches

if TYPE_CHECKING:
    from pathlib import Path

LICENSES = 'licenses = "Apache-2.0"'
SOURCE = 'source = "https://example.invalid/dynamo"'
TITLE = 'title = "Dynamo small"'
REPOSITORY = 'repository = "dynamo-small"'
SMALL = '[images.small]\ntitle = "Dynamo small"'
DESCRIPTION = 'description = "bootstrapped"'
FILES = 'files = { "usr/bin/etcd" = "/usr/local/bin/etcd" }'
PACKAGES = 'packages = ["python3"]'
DEBIAN_ROWS = "[bases.debian.roots.builder]"
REGISTRY_ROOT = "[bases.debian.roots.devel]\nimage = "
GIT = '[sources.dynamo]\ngit = "https://example.invalid/a.git"\nref = '
ARCHIVE = """\
[bases.debian.archive]
suites = ["{suite}"]
components = ["main"]
keyring = "/k.gpg"
"linux/amd64" = "http://a.invalid/ubuntu"
"linux/arm64" = "http://a.invalid/ports"
"""


def case(key: str, old: str, new: str) -> object:
    """Return a wrong value: its key, and the text of images.toml that it replaces."""
    return pytest.param(key, old, new, id=f"{key} {new}"[:90])


def row(key: str, line: str) -> object:
    """Return a wrong value in a line that is added to a table of the small checkout."""
    table, _, name = key.rpartition(".")
    heads = {"images.small": SMALL, "bases.debian": f"[bases.debian]\n{DESCRIPTION}"}
    head = heads[table]
    return case(f"{table}.{name}", head, f"{head}\n{line}")


def before_rows(key: str, text: str) -> object:
    """Return a wrong value in a table that is added."""
    return case(key, DEBIAN_ROWS, f"{text}\n{DEBIAN_ROWS}")


WRONG = [
    case("lock.cooldown-days", "cooldown-days = 7", "cooldown-days = -1"),
    case("lock.cooldown-days", "cooldown-days = 7", "cooldown-days = 1000000000000000000000000"),
    case("reports.keep", "keep = 3", "keep = -3"),
    *(
        case("images.small.repository", REPOSITORY, f"repository = {value}")
        for value in ('""', '"a b"', '"a\\nb"', '"$(id)"', '"../a"', '"a/../b"', '"A"', '"a:1"', '"-a"', '"a,b=c"')
    ),
    case("images.small.repository", REPOSITORY, 'repository = "dynamo-frontend"'),
    case("images.small.repository", REPOSITORY, 'repository = "dynamo-frontend-ci"'),
    *(
        case("bases.debian.interpreter", 'interpreter = "/usr/bin/python3"', f"interpreter = {value}")
        for value in ('""', '"python3"', '"/usr/bin/../python3"', '"/usr/bin/python3\\nRUN id"', '"/$(id)"', '"/a b"')
    ),
    *(
        case("project.oldest-glibc", 'oldest-glibc = "2.35"', f"oldest-glibc = {value}")
        for value in ('"2"', '"2.35\\n"', '"$(id)"', '"2.35-0"', '"two"')
    ),
    *(row("bases.debian.cuda", f"cuda = {value}") for value in ('""', '"13.0"', '"13\\n"', '"$(id)"', '"cu13"', "13")),
    *(
        case("project.source", SOURCE, f"source = {value}")
        for value in ('"a"', '"https://h/\\na"', '"https://h/$(id)"', '"https://u:p@h/"', '"ftp://h/"')
    ),
    *(
        case("project.licenses", LICENSES, f"licenses = {value}")
        for value in ('""', '"MIT\\nMIT"', '"$(id)"', '"MIT and"', '"`id`"', '"${HOME}"')
    ),
    *(
        before_rows("indexes.own.url", f'[indexes.own]\nurl = {value}\npackages = ["a"]')
        for value in ('"ftp://h/"', '"https://u:p@h/"', '"https://token@h/"', '"file:///a"', '"h"', '"--x"')
    ),
    before_rows("indexes.own.packages", '[indexes.own]\nurl = "https://h/"\npackages = ["A_b"]'),
    *(
        before_rows("sources.dynamo.git", f'[sources.dynamo]\ngit = {value}\nref = "v1"')
        for value in ('"ext::sh -c id"', '"--upload-pack=id"', '"fd::1"', '"https://u:p@h/a.git"', '"/srv/a"', '"h:a"')
    ),
    *(
        before_rows("sources.dynamo.ref", f"{GIT}{value}")
        for value in ('"--upload-pack=id"', '"-v1"', '""', '"a b"', '"a..b"', '"v1\\n"', '"a:b"', '"$(id)"')
    ),
    before_rows("sources.dynamo.build", f'{GIT}"v1"\nbuild = "--x"'),
    *(
        case("images.small.title", TITLE, f"title = {value}")
        for value in ('""', '" "', '"a\\nb"', '"${HOME}"', '"`id`"')
    ),
    *(
        case("bases.debian.description", DESCRIPTION, f"description = {value}")
        for value in ('"a\\u001b[31m"', '"$(id)"', '"a\\u202eb"')
    ),
    *(
        case("bases.debian.programs.etcd.files", FILES, f'files = {{ {value} = "/usr/bin/a" }}')
        for value in ('"/etc/shadow"', '"../../etc/shadow"', '"a/../../b"', '"a//b"', '"./a"', '"-a"', '"a\\nb"', '""')
    ),
    *(
        case('bases.debian.programs.etcd.files."usr/bin/etcd"', FILES, f'files = {{ "usr/bin/etcd" = {value} }}')
        for value in ('"/../../x"', '"usr/bin/etcd"', '"/usr/../../x"', '"/"', '"/usr/bin/"', '"/a\\nb"', '"/$(id)"')
    ),
    *(
        case("bases.debian.roots.runtime.packages", PACKAGES, f"packages = [{value}]")
        for value in ('"--x"', '"-o=Dir::Etc=/tmp"', '"python3-"', '"a b"', '"a/sid"', '"a=1"', '""', '"a;id"')
    ),
    *(
        before_rows("bases.debian.roots.devel.image", f"{REGISTRY_ROOT}{value}")
        for value in ('"debian"', '"h/../a:1"', '"a b:1"', '"debian:12,x=y"', '"debian:$(id)"', '"-a:1"')
    ),
    *(
        before_rows("bases.debian.deb-sources.pool", f"[bases.debian.deb-sources]\npool = {value}")
        for value in ('"ftp://h/a"', '"https://u:p@h/a"', '"a\\nb"', '"--x"', '"$(id)"')
    ),
    before_rows(
        "bases.debian.deb-sources.snapshot", '[bases.debian.deb-sources]\nsnapshot = "https://u:p@h/{timestamp}/"'
    ),
    before_rows('bases.debian.archive."linux/amd64"', ARCHIVE.replace("http://a.invalid/ubuntu", "ftp://a/ubuntu")),
    before_rows("bases.debian.archive.keyring", ARCHIVE.replace("/k.gpg", "/../k.gpg")),
    before_rows("bases.debian.archive.suites", ARCHIVE.replace('"{suite}"', '"{suite} main\\ndeb x"')),
    before_rows("bases.debian.archive.components", ARCHIVE.replace('"main"', '"main contrib"')),
    *(
        row(f"images.small.{key}", f"{key} = {value}")
        for key, value in (
            ("imports", '["os; id"]'),
            ("backend", '"a-b"'),
            ("worker-arguments", '["{other}"]'),
            ("worker-arguments", '["a\\nb"]'),
            ("engine-interpreter", '"python"'),
            ("indexes", '["../a"]'),
            ("os-packages", '["a/b"]'),
            ("allow-build-tools", '{ "../*" = "because" }'),
            ("allow-build-tools", '{ "/usr/bin/gcc" = "because" }'),
            ("missing-libraries", '{ "a/b.so" = "because" }'),
            ("package-layers", '{ "../a" = ["b"] }'),
            ("package-layers", '{ a = ["../b"] }'),
            ("compile-from-source", '{ "linux/amd64" = ["--x"] }'),
        )
    ),
    case("images", SMALL, '[images."../small"]\ntitle = "Dynamo small"'),
    case("bases", "[images.base]\n", '[bases."a b"]\n[images.base]\n'),
    before_rows(
        "bases.debian-amd64",
        '[bases.debian-amd64]\ndescription = "a"\nstrict = false\npython = "3.11"\ninterpreter = "/a"\nglibc = "2.36"',
    ),
    *(
        before_rows(
            "bases.debian.programs.etcd.files",
            f'[bases.debian.programs.a]\nsuite = "a"\npackage = "b"\nfiles = {{ a = "{path}" }}',
        )
        for path in ("/usr/local/bin/etcd", "/usr/local/bin", "/usr/local/bin/etcd/a")
    ),
    before_rows("bases.debian.programs", '[bases.debian.programs."a/b"]\nsuite = "a"\npackage = "b"\nfiles = {}'),
    before_rows(
        "bases.debian.programs.a.url",
        '[bases.debian.programs.a]\nversion = "1"\nurl = "file:///etc/passwd"\nfiles = {}',
    ),
    before_rows(
        "bases.debian.programs.a.version",
        '[bases.debian.programs.a]\nversion = "1/../2"\nurl = "https://h/{version}.tar.gz"\nfiles = {}',
    ),
    before_rows(
        "bases.debian.toolchains.a.installer",
        '[bases.debian.toolchains.a]\nversion = "1"\nurl = "https://h/a.tar.gz"\ninstaller = "../x"',
    ),
]


def edit(checkout: Path, old: str, new: str) -> None:
    """Replace the one place where images.toml has a text."""
    text = (checkout / IMAGES_FILE).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (checkout / IMAGES_FILE).write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(("key", "old", "new"), WRONG)
def test_a_wrong_value_of_images_toml_is_refused_by_its_key(checkout: Path, key: str, old: str, new: str) -> None:
    edit(checkout, old, new)
    with pytest.raises(UsageError) as caught:
        load_catalogue(checkout)
    message = str(caught.value)
    assert message.startswith((f"{IMAGES_FILE}: {key}: found ", f"{IMAGES_FILE}: {key}."))
    assert "allowed is " in message
    assert message.endswith(f".\nEdit {IMAGES_FILE} and run again.")


@pytest.mark.parametrize("limit", ["compressed-mb = -1", "layers = 0", f"largest-layer-mb = {10**30}"])
def test_a_budget_is_a_number_above_zero(checkout: Path, limit: str) -> None:
    with (checkout / IMAGES_FILE).open("a", encoding="utf-8") as file:
        file.write(f'\n[images.small.budget."linux/amd64"]\n{limit}\n')
    key, _, value = limit.partition(" = ")
    found = f'images.small.budget."linux/amd64".{key}: found {value}, allowed is a whole number, 1 or more'
    with pytest.raises(UsageError, match=found.replace(".", "[.]")):
        load_catalogue(checkout)


@pytest.mark.parametrize(
    ("kind", "text", "key"),
    [
        (mirrors, '[addresses]\n"https://a/" = "file:///srv/"', 'addresses."https://a/"'),
        (mirrors, '[addresses]\n"https://a/" = "ftp://b/"', 'addresses."https://a/"'),
        (mirrors, '[addresses]\n"https://a/" = "https://u:p@b/"', 'addresses."https://a/"'),
        (mirrors, '[addresses]\n"file:///a/" = "https://b/"', "addresses"),
        (mirrors, '[registries]\n"nvcr.io" = "a b"', 'registries."nvcr.io"'),
        (mirrors, '[registries]\n"nvcr.io" = "--x"', 'registries."nvcr.io"'),
        (mirrors, '[registries]\n"nvcr.io" = "h/../x"', 'registries."nvcr.io"'),
        (caches, 'from = ["/srv/a,dest=/etc"]', "from"),
        (caches, 'to = "/srv/a,dest=/etc"', "to"),
        (caches, 'to = "/srv/a\\nb"', "to"),
        (caches, 'to = "h/a,mode=min"', "to"),
        (caches, '[images.a]\nto = "/srv/$(id)"', "images.a.to"),
        (caches, '[images.a."linux/arm64"]\nfrom = ["ftp://h/a"]', 'images.a."linux/arm64".from'),
        (builders, '[builders]\n"linux/arm64" = "--x"', 'builders."linux/arm64"'),
        (builders, '[builders]\n"linux/arm64" = "a b"', 'builders."linux/arm64"'),
    ],
)
def test_a_wrong_value_in_a_file_of_the_user_is_refused_by_its_key(
    tmp_path: Path, kind: object, text: str, key: str
) -> None:
    (tmp_path / "file.toml").write_text(text, encoding="utf-8")
    module = {mirrors: mirrors, caches: caches, builders: builders}[kind]  # type: ignore[index]
    with pytest.raises(UsageError) as caught:
        module.load({module.VARIABLE: str(tmp_path / "file.toml")})
    assert str(caught.value).startswith(f"file.toml: {key}: found ")
    assert "allowed is " in str(caught.value)


def test_a_setting_of_sccache_is_one_line_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_text(
        'SCCACHE_BUCKET = "b"\nAWS_SECRET_ACCESS_KEY = "secret\\nX=1"', encoding="utf-8"
    )
    with pytest.raises(UsageError, match="AWS_SECRET_ACCESS_KEY: found a value of type str") as caught:
        sccache.secrets({sccache.VARIABLE: str(tmp_path / "file.toml")})
    assert "secret\\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["/srv/a,dest=/etc", "h/a,mode=min", "/srv/$(id)", "cache"])
def test_a_wrong_place_of_a_cache_on_the_command_line_is_refused(place: str) -> None:
    with pytest.raises(UsageError, match="is not a place for a build cache"):
        caches._check_places([place])


def test_an_earlier_name_of_a_key_is_refused_with_its_name_today(checkout: Path) -> None:
    edit(checkout, SMALL, f'{SMALL}\nway = "wheels"')
    message = 'images.small: unknown key "way"; it is called "install-from" now\n'
    with pytest.raises(UsageError, match=message):
        load_catalogue(checkout)


def test_a_content_is_checked_once_and_again_after_a_change(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(data_check, "check_content", lambda table, _: checked.append(table.file))
    for _ in range(2):
        load_catalogue(checkout)
    assert checked == [IMAGES_FILE]
    edit(checkout, "keep = 3", "keep = 4")
    load_catalogue(checkout)
    assert checked == [IMAGES_FILE, IMAGES_FILE]


def test_a_content_that_was_refused_is_refused_again(checkout: Path) -> None:
    load_catalogue(checkout)
    edit(checkout, "keep = 3", "keep = 0")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"reports\.keep"):
            load_catalogue(checkout)


def test_another_rule_checks_a_content_again(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_catalogue(checkout)
    before = (checkout / state.checked_data("images.toml")).read_bytes()
    for name in data_check.RULES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("other rules", encoding="utf-8")
    monkeypatch.setattr(data_check, "LIBRARY", tmp_path)
    load_catalogue(checkout)
    assert (checkout / state.checked_data("images.toml")).read_bytes() != before


def test_a_checkout_that_cannot_be_written_is_checked_and_used(checkout: Path) -> None:
    (checkout / state.BUILD).write_text("a file where the folder would be", encoding="utf-8")
    assert load_catalogue(checkout).images


def test_a_start_with_data_that_passed_does_not_load_the_records() -> None:
    load_catalogue()
    program = (
        "import sys; from dynamo_containers.facts.catalogue import load_catalogue; load_catalogue(); "
        "print(sorted({'msgspec', 'dynamo_containers.facts.data_schema'} & set(sys.modules)))"
    )
    argv = (sys.executable, "-c", program)
    started = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    assert started.stdout == "[]\n"


def test_every_file_of_the_user_has_a_schema() -> None:
    from dynamo_containers.facts import data_schema

    names = {user_config.CACHES[1], user_config.BUILDERS[1], user_config.SCCACHE[1], mirrors.USER_FILE, "images.toml"}
    assert set(data_schema.SCHEMAS) == names
