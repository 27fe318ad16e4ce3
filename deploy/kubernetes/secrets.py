"""`python -m deploy.kubernetes.secrets` prints the Secrets of `secrets.template.yaml` with passwords made now.

Nothing is written to disk: `… | kubectl create -f -` hands them to the cluster, which refuses those that it has.
"""

import re
import secrets
import sys
from pathlib import Path
from typing import Any, Final

import yaml

TEMPLATE: Final = Path(__file__).resolve().parent / "secrets.template.yaml"
RANDOM: Final = "<random>"
YOURS: Final = "<yours>"
_REFERENCE: Final = re.compile(r"<([a-z-]+)>")


def filled_in() -> tuple[list[dict[str, Any]], list[str]]:
    """Return the Secrets, and the keys that only a person can give."""
    documents = list(yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8")))
    missing: list[str] = []
    for document in documents:
        given = {key: _password() if value == RANDOM else value for key, value in document["stringData"].items()}
        missing += [key for key, value in given.items() if value == YOURS]
        values = {key: value for key, value in given.items() if value != YOURS}
        document["stringData"] = {key: _resolved(value, values) for key, value in values.items()}
    return documents, missing


def _password() -> str:
    # A letter first: nats-server would take one that begins with a digit for a number.
    return f"p{secrets.token_hex(24)}"


def _resolved(value: str, values: dict[str, str]) -> str:
    return _REFERENCE.sub(lambda found: values[found[1]], value)


def main() -> int:
    """Print the Secrets as YAML, and on standard error what is left to do."""
    documents, missing = filled_in()
    sys.stdout.write(yaml.safe_dump_all(documents, sort_keys=False))
    sys.stderr.write(f"left out, yours to add where their components are used: {', '.join(missing)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
