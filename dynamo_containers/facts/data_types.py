"""Types of the texts in hand-written data that only such data has; the others are in value_types.py.

A value ends in a path, a URL, a label, a file name, an attribute string or the argument of a command. So each type has
the characters that its place needs, and none that a shell, Dockerfile, git or CSV reads otherwise.
"""

from __future__ import annotations

from dynamo_containers import value_types
from dynamo_containers.value_types import TextType

# Control characters, line ends, and the characters that reverse the direction of text (https://trojansource.codes).
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_HOST = r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?(?::[0-9]{1,5})?"
_URL_CHARACTERS = "[0-9A-Za-z._~:/?@!*+,=&%#-]"
_PART = r"(?!\.\.?(?:/|$))"

TITLE = TextType(
    body=rf"(?=.*\S)[^{_CONTROL}$`]+",
    allowed="one line of text without $ and `",
    longest=500,
)
REASON = TextType(body=rf"(?=.*\S)[^{_CONTROL}]+", allowed="a reason: one line of text", longest=1000)
LOCK_NAME = TextType(
    body=r"[a-z][0-9A-Za-z_.-]*(?:[/ ][0-9A-Za-z_][0-9A-Za-z_.-]*)*",
    allowed="the name of a lock or pin, as `invoke lock --check --json` has it",
)
# The grammar of distribution/reference for a name without a registry, a tag or a digest.
REPOSITORY = TextType(
    body=r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*",
    allowed="the name of an image without a tag: lower-case letters and digits, with single . _ or - between them",
    longest=128,
)
_LICENSE = r"\(*(?:DocumentRef-[0-9A-Za-z.-]+:)?[0-9A-Za-z][0-9A-Za-z.-]*\+?\)*"
LICENSES = TextType(
    body=rf"{_LICENSE}(?: (?:AND|OR|WITH) {_LICENSE})*",
    allowed='an SPDX licence expression such as "Apache-2.0 AND MIT"',
)
GLIBC = TextType(body=r"[1-9][0-9]?\.[0-9]{1,3}", allowed='a version of glibc such as "2.35"')
PYTHON = TextType(body=r"3\.[1-9]?[0-9](?:\.[1-9]?[0-9])?", allowed='a version of Python such as "3.11.2", or "3.11"')
PYTHON_RELEASE = TextType(body=r"3\.[1-9]?[0-9]\.[1-9]?[0-9]", allowed='a version of Python such as "3.11.2"')
CUDA = TextType(body="[1-9][0-9]?", allowed='a major version of CUDA such as "13"')
SUITE = TextType(
    body=r"[a-z0-9][a-z0-9.+-]*(?:/[a-z0-9][a-z0-9.+-]*)*", allowed='the name of a suite such as "bookworm"'
)
ARCHIVE_SUITE = TextType(
    body=r"(?:[a-z0-9][a-z0-9.+/-]*)?\{suite\}(?!.*\.\.)[a-z0-9.+/-]*", allowed="a name with {suite} in it"
)
# The first character of an option of apt and dnf is a hyphen, and apt removes a package whose name ends in one.
OS_PACKAGE = TextType(
    body=rf"{value_types.PACKAGE_NAME.body}(?<!-)",
    allowed="the name of a package: letters, digits and . + _ -, with a letter or digit first and no - at the end",
)
PYTHON_PACKAGE = TextType(
    body="[a-z0-9]+(?:-[a-z0-9]+)*", allowed="a normalized name: lower case, digits and single dashes"
)
PINNED_PACKAGE = TextType(
    body=rf"{PYTHON_PACKAGE.body}=={value_types.VERSION.body}", allowed="name==version of a Python package"
)
PACKAGE_PATTERN = TextType(
    body=r"[a-z0-9*?\[][a-z0-9*?\[\]!-]*",
    allowed="a pattern of normalized names of Python packages: lower case, digits, dashes, * ? [ ]",
)
PATH_PATTERN = TextType(
    body=rf"(?!-){_PART}[0-9A-Za-z.+~:_@*?\[\]!,=-]+(?:/{_PART}[0-9A-Za-z.+~:_@*?\[\]!,=-]+)*",
    allowed='a pattern of paths below the root of the image, without a "/" first and without ".."',
    longest=1024,
)
LIBRARY_PATTERN = TextType(
    body=r"[0-9A-Za-z._*?\[][0-9A-Za-z.+_*?\[\]-]*", allowed='a pattern of names of libraries such as "libcudart.so.12"'
)
FILE_PATTERN = TextType(
    body=r"(?=.*[0-9A-Za-z])[0-9A-Za-z._*?\[][0-9A-Za-z.+_*?\[\]-]*",
    allowed='a pattern of names of files without a folder, such as "libx264*"',
)
# A shorter text is in every binary by chance.
BINARY_TEXT = TextType(body=r"(?=.*\S)[ -~]{6,}", allowed="6 or more printable ASCII characters", longest=200)
CONTENT_PATTERN = TextType(
    body=rf"(?=.*[0-9A-Za-z]){PATH_PATTERN.body}", allowed=PATH_PATTERN.allowed, longest=PATH_PATTERN.longest
)
# {version}, {arch} and {machine} are those of the row and of a platform.
_TEMPLATE = r"\{(?:version|arch|machine)\}"
MEMBER = TextType(
    body=rf"(?!-){_PART}(?:[0-9A-Za-z.+~:_@^=,-]|{_TEMPLATE})+(?:/{_PART}(?:[0-9A-Za-z.+~:_@^=,-]|{_TEMPLATE})+)*",
    allowed='a relative path in the package without "..", "." or an empty part; '
    "it may contain {version}, {arch}, {machine}",
    longest=1024,
)
RELEASE_URL = TextType(
    body=rf"https?://{_HOST}/(?:{_URL_CHARACTERS}|{_TEMPLATE})+",
    allowed="https://HOST/PATH without a login, spaces, quotes or $; it may contain {version}, {arch}, {machine}",
    longest=2048,
)
RPM_REPOSITORY = TextType(
    body=rf"(?=.*\{{machine\}})(?:{_PART}(?:[0-9A-Za-z._-]|\{{machine\}})+/?)+(?<!/)",
    allowed='a relative path with {machine} in it, without ".."',
)
COMPONENT = TextType(body="[a-z0-9][a-z0-9-]*(?:/[a-z0-9-]+)*", allowed='a component of an archive such as "main"')
SNAPSHOT = TextType(
    body=rf"(?=.*\{{timestamp\}})https?://{_HOST}/(?:{_URL_CHARACTERS}|\{{(?:timestamp|archive)\}})+",
    allowed="a URL with {timestamp} in it, https://HOST/PATH without a login",
    longest=2048,
)
POOL = TextType(
    body=rf"https?://{_HOST}(?:/{_URL_CHARACTERS}*)?|(?!-)(?!.*://)[^{_CONTROL}\x22\x27$`\\{{}}]+",
    allowed="a folder, or https://HOST/PATH without a login",
    longest=4095,
)
# git runs the program of an ext:: address, and would take a - at the beginning for an option.
GIT_URL = TextType(
    body=rf"(?:https?|git)://{_HOST}/[0-9A-Za-z._~/+-]+|ssh://(?:git@)?{_HOST}/[0-9A-Za-z._~/+-]+",
    allowed="https://HOST/PATH, git://HOST/PATH or ssh://git@HOST/PATH of a repository, without a password",
    longest=2048,
)
SOURCE = TextType(
    body=rf"(?!-)(?!.*::)[^{_CONTROL}\x22\x27$`\\,]+",
    allowed='"wheels", "git", the folder of a checkout, or URL#COMMIT',
    longest=4095,
)
MODULE = TextType(body=r"[A-Za-z_][0-9A-Za-z_]*(?:\.[A-Za-z_][0-9A-Za-z_]*)*", allowed="the name of a Python module")
ARGUMENT = TextType(
    body=rf"(?:[^{_CONTROL}{{}}]|\{{model\}})+", allowed="an argument on one line; {model} is the folder of the model"
)
# In `type=local,dest=...` a comma would begin another attribute.
CACHE_PLACE = TextType(
    body=rf"[0-9a-z](?:[0-9a-z.-]*[0-9a-z])?(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+"
    rf"|(?:/|\.\.?/|~)[^{_CONTROL},\x22\x27$`\\]*",
    allowed='"HOST[:PORT]/NAME" of a registry, without a tag, or the path of a folder that begins with / or ./, '
    "without commas, quotes and $",
    longest=2048,
)
MIRROR_REGISTRY = TextType(
    body=rf"{_HOST}(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*", allowed='"HOST[:PORT][/PATH]" on both sides'
)
MIRROR_ADDRESS = TextType(
    body=rf"https?://{_HOST}/(?:{_URL_CHARACTERS}*/)?",
    allowed='"https://HOST/[PATH/]" on both sides, without a login',
    longest=2048,
)
BUILDER_NAME = TextType(
    body="[0-9A-Za-z][0-9A-Za-z_.+-]*",
    allowed="a builder of `docker buildx ls`: letters, digits and _ . + -, with a letter or digit first",
)
SETTING = TextType(body=rf"[^{_CONTROL}]*", allowed="one line of text", longest=4095)
