"""What a Prometheus beside `rag up` has to scrape, in its own file format (`file_sd`)."""

import json
from typing import Any
from urllib.parse import urlsplit

from services.cli.data_folder import write_private
from services.cli.plan import Plan, service_of


def scrape_targets(plan: Plan) -> list[dict[str, Any]]:
    """Return one target for each process, labelled with its service and its name."""
    return [
        {
            "targets": [urlsplit(spec.ready_url).netloc],
            "labels": {
                "service": service_of(spec.name),
                "instance": spec.name,
                **({"__scheme__": "https"} if spec.ready_url.startswith("https:") else {}),
            },
        }
        for spec in plan.services()
    ]


def write_scrape_targets(plan: Plan) -> None:
    """Put the targets in the place of those of the run before; Prometheus watches the file."""
    plan.data.scrape.mkdir(mode=0o700, exist_ok=True)
    write_private(plan.data.scrape / "rag.json", json.dumps(scrape_targets(plan), indent=2) + "\n")
