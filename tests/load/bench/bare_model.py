"""The model in a bare loop, in a process of its own: chunks a second with nothing around it.

    python -m tests.load.bench.bare_model --texts FILE

FILE holds a JSON list of texts. Prints one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path

from tests.load.reference import bare_model_rate


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True)
    json.dump(bare_model_rate(json.loads(parser.parse_args().texts.read_text(encoding="utf-8"))), sys.stdout)


if __name__ == "__main__":
    main()
