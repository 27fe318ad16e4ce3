"""The licences of the packages that a user installs (pip-licenses)."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from deploy.supply.tools import Tools
from deploy.supply.verdict import Verdict

CHECK: Final = "licences"
# As packages spell them; a combination stands here as a whole, so that a new one is looked at.
ALLOWED: Final = frozenset(
    {
        "3-Clause BSD License",
        "Apache Software License",
        "Apache Software License; MIT License",
        "Apache-2.0",
        "Apache-2.0 AND BSD-2-Clause",
        "Apache-2.0 OR BSD-2-Clause",
        "Apache-2.0 OR BSD-3-Clause",
        "BSD License",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "ISC License (ISCL)",
        "MIT",
        "MIT License",
        "MIT OR Apache-2.0",
        "MIT-0",
        # Weak copyleft by file: used as they come, unchanged.
        "MPL-2.0 AND (Apache-2.0 OR MIT)",
        "MPL-2.0 AND MIT",
        "Mozilla Public License 2.0 (MPL 2.0)",
        "PSF-2.0",
    }
)
# A package whose licence is allowed although its metadata does not say so, or that is allowed alone: with the reason.
LOOKED_AT: Final[Mapping[str, tuple[str, str]]] = {
    "chardetng-py": ("UNKNOWN", "MIT, by the LICENSE file in its wheel"),
    "psycopg": ("LGPL-3.0-only", "a driver that is imported unchanged and can be replaced"),
    "psycopg-binary": ("LGPL-3.0-only", "a driver that is imported unchanged and can be replaced"),
    "py-rust-stemmers": ("UNKNOWN", "MIT, by the LICENSE file in its wheel"),
    "pypdfium2": ("BSD-3-Clause, Apache-2.0, dependency licenses", "PDFium and what it bundles, all permissive"),
}


def check(tools: Tools) -> Verdict:
    """Return every installed package of the runtime lock whose licence nobody has agreed to."""
    locked = re.findall(r"^([\w.-]+)==", (tools.root / "requirements" / "runtime.txt").read_text(), re.MULTILINE)
    arguments = ("--python", str(tools.python), "--with-system", "--from", "mixed", "--format", "json")
    rows = json.loads(tools.run("piplicenses", *arguments).stdout)
    wanted = {_plain(name) for name in locked}
    return judged(sorted({(row["Name"], row["License"]) for row in rows if _plain(row["Name"]) in wanted}))


def judged(
    packages: Sequence[tuple[str, str]],
    allowed: Iterable[str] = ALLOWED,
    looked_at: Mapping[str, tuple[str, str]] = LOOKED_AT,
) -> Verdict:
    """Return the verdict on packages and their licences."""
    known = frozenset(allowed)
    findings = tuple(
        f"{name}: {licence!r} is on no list in deploy/supply/licences.py"
        for name, licence in packages
        if licence not in known and looked_at.get(_plain(name), ("", ""))[0] != licence
    )
    return Verdict(CHECK, f"{len(packages)} packages", findings)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
