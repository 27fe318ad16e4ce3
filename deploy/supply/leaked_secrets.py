"""Secrets in the files under version control (detect-secrets, offline)."""

import json
from collections.abc import Sequence
from typing import Final

from deploy.supply.tools import Tools
from deploy.supply.verdict import Verdict

CHECK: Final = "secrets"
# The pins of wheels and models are hashes, and look like keys.
_HASHES: Final = r"(sha256|_part\(|--hash=|[\"'][0-9a-f]{64}[\"'])"
# What stands for a password where a command is explained.
_PLACEHOLDERS: Final = "^(password|PASSWORD)$"
_NOT_TEXT: Final = r"(^requirements/|^docs/benchmarks/|\.json$)"
# Tests hold passwords and ids that were made up; what only a real provider hands out is looked for there as well.
_LOOSE_DETECTORS: Final = ("KeywordDetector", "BasicAuthDetector", "Base64HighEntropyString", "HexHighEntropyString")


def check(tools: Tools, *paths: str) -> Verdict:
    """Return every secret in the files that git knows; one that is none carries `pragma: allowlist secret`."""
    files = tools.git_files(*paths)
    tests = [path for path in files if path.startswith("tests/")]
    rest = [path for path in files if not path.startswith("tests/")]
    loose = [option for name in _LOOSE_DETECTORS for option in ("--disable-plugin", name)]
    found = {**_scan(tools, rest), **_scan(tools, tests, *loose)}
    return Verdict(CHECK, f"{len(files)} files", tuple(sorted(found.values())))


def _scan(tools: Tools, files: Sequence[str], *options: str) -> dict[tuple[str, int], str]:
    if not files:
        return {}
    filters = (
        "--no-verify",
        "--exclude-lines",
        _HASHES,
        "--exclude-files",
        _NOT_TEXT,
        "--exclude-secrets",
        _PLACEHOLDERS,
    )
    report = json.loads(tools.run("detect_secrets", "-c", "2", "scan", *filters, *options, *files).stdout)
    return {
        (path, one["line_number"]): f"{path}:{one['line_number']}: {one['type']}"
        for path, found in report["results"].items()
        for one in found
    }
