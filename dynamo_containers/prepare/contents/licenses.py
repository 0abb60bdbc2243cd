"""Licence of a package as an SPDX expression, from the metadata of its wheel.

PEP 639 has License-Expression; older metadata has a free text, or a classifier. A classifier that does not say which
version or variant of a licence it means (`BSD License`) gives no expression: what is ambiguous is not guessed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from license_expression import Licensing

CLASSIFIERS = {
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "zlib/libpng License": "Zlib",
}
"""Classifier, without `License :: OSI Approved ::` -> the one SPDX id that it means (PEP 639 maps classifiers)."""
TEXTS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license v2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "apache v2": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apachev2": "Apache-2.0",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd-3-clause license": "BSD-3-Clause",
    "mit license": "MIT",
    "mit no attribution": "MIT-0",
    "mpl 2.0": "MPL-2.0",
    "mpl-2.0 license": "MPL-2.0",
    "new bsd license": "BSD-3-Clause",
    "the mit license": "MIT",
    "zlib license": "Zlib",
}
"""Free text of metadata, in lower case -> SPDX id."""
REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
LONGEST = 100
"""Characters of a free text that are kept."""


@cache
def _licensing() -> Licensing:
    from license_expression import get_spdx_licensing  # its list of licences takes a tenth of a second

    return get_spdx_licensing()


@cache
def spdx_expression(text: str) -> str:
    """Return a licence as a normal SPDX expression; '' where it is not one."""
    from license_expression import ExpressionError

    if REFERENCE.fullmatch(text):  # a licence that is not on SPDX's list, by the name that its text has there
        return text
    # `MIT/Apache-2.0`: the older form of the manifests of crates, which means OR.
    text = TEXTS.get(text.strip().lower(), text.strip().replace("/", " OR "))
    try:
        parsed = _licensing().parse(text, validate=True)
    except (ExpressionError, ValueError, TypeError):
        return ""
    return str(parsed.simplify()) if parsed is not None else ""


def from_metadata(expression: str, text: str, classifiers: Iterable[str]) -> tuple[str, str]:
    """Return the SPDX expression of a package ('' where nothing states it), and else what its metadata says.

    Args:
        expression: License-Expression of its METADATA.
        text: License.
        classifiers: Classifier.
    """
    names = [row.rpartition(" :: ")[2] for row in classifiers if row.startswith("License ::")]
    first_line = text.strip().partition("\n")[0].strip()
    for candidate in (expression, first_line):
        if found := spdx_expression(candidate) if candidate else "":
            return found, ""
    ids = sorted({CLASSIFIERS.get(name, "") for name in names if name != "OSI Approved"})
    if len(ids) == 1 and ids[0]:
        return ids[0], ""
    return "", (expression or first_line or ", ".join(sorted(names)))[:LONGEST]
