"""`python -m deploy.supply` runs every check of the supply chain; `python -m deploy.supply sbom` writes the bill."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from deploy.local.errors import SetupError
from deploy.local.install import ROOT
from deploy.local.progress import Progress
from deploy.supply import leaked_secrets, licences, risky_code, vulnerabilities
from deploy.supply.sbom import SBOM, write_sbom
from deploy.supply.tools import Tools, ensure_tools
from deploy.supply.verdict import Verdict

CHECKS: Final[tuple[Callable[[Tools], Verdict], ...]] = (
    vulnerabilities.check,
    leaked_secrets.check,
    risky_code.check,
    licences.check,
)


def main(arguments: Sequence[str]) -> int:
    """Return 0 when nothing was found, 1 for findings; without a network it says what it did not check, and passes."""
    try:
        tools = ensure_tools(ROOT, Progress(sys.stderr))
    except SetupError as error:
        sys.stderr.write(f"supply: NOT CHECKED: {error}\n")
        return 1 if arguments else 0
    if arguments == ["sbom"]:
        print(f"{SBOM}: {write_sbom(tools, ROOT / SBOM)} components")
        return 0
    # Advisories are waited for, everything else computes.
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda check: check(tools), CHECKS))
    for verdict in verdicts:
        print("\n".join(verdict.lines()))
    return int(any(verdict.findings for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
