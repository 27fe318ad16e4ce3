"""Kills and freezes every process of a platform that is loaded and asked, and looks whether anything was lost.

    python -m tests.chaos [--seed N] [--documents N] [--seconds S] [--kills N] [--freezes N] [--freeze-seconds S]

Ends with 1 when anything was wrong; the data folder of such a run is kept and named.
"""

import argparse
import json
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.chaos.faults import TARGETS
from tests.chaos.report import figures, show
from tests.chaos.run import Options, run
from tests.platform_process import PROJECT

RESULTS = PROJECT / ".bench" / "chaos.json"


def parse() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="plans the same writes, queries and faults again")
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=1_000, help="how long writes and faults go on")
    parser.add_argument("--kills", type=int, default=5, help="of every process")
    parser.add_argument("--freezes", type=int, default=5, help="of every process")
    parser.add_argument("--freeze-seconds", type=float, default=40)
    parser.add_argument("--queries-per-second", type=float, default=4)
    parser.add_argument("--settle-seconds", type=float, default=300, help="bound for the work that is left in the end")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="where the raw figures go")
    return parser.parse_args()


def main() -> None:
    """Run, print, keep."""
    arguments = parse()
    options = Options(
        seed=secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed,
        documents=arguments.documents,
        seconds=arguments.seconds,
        kills=arguments.kills,
        freezes=arguments.freezes,
        freeze_seconds=dict.fromkeys(TARGETS, arguments.freeze_seconds),
        queries_per_second=arguments.queries_per_second,
        settle_seconds=arguments.settle_seconds,
    )
    console = Console(width=120)
    data = Path(tempfile.mkdtemp(prefix="rag-chaos-"))
    outcome = run(options, data, console.print)
    show(outcome, console)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures(outcome), indent=2) + "\n", encoding="utf-8")
    console.print(f"raw figures: {arguments.json}")
    if not outcome.is_good:
        console.print(f"its data and logs stay in {data}")
        sys.exit(1)
    shutil.rmtree(data)


if __name__ == "__main__":
    main()
