"""Checks a bill of materials against the schema of CycloneDX; runs where the tools are importable, see `tools.py`."""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main(version: str, path: str) -> int:
    """Return 0 for a valid bill, else 1 after a line on standard error."""
    wanted = SchemaVersion[f"V{version.replace('.', '_')}"]
    error = JsonStrictValidator(wanted).validate_str(Path(path).read_text(encoding="utf-8"))
    if error is None:
        return 0
    sys.stderr.write(f"{path} is no valid bill of materials: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
