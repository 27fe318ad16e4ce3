"""How many processes of each service run, and why some services can't have more than one here."""

from collections.abc import Mapping
from typing import Final

from services.cli.errors import UsageProblem
from services.cli.settings import LauncherSettings

MAX_REPLICAS: Final = 32
# In the order in which they take work from one another; the gateway answers people and comes first.
SERVICES: Final = ("gateway", "parser", "embedder", "retriever", "agent", "persistence")


def parse_scale(entries: list[str]) -> dict[str, int]:
    """Return the replicas of every service from entries like `parser=2`; UsageProblem names a wrong entry."""
    replicas = dict.fromkeys(SERVICES, 1)
    for entry in entries:
        name, _, number = entry.partition("=")
        if name not in replicas:
            raise UsageProblem(f"--scale {entry}: no service is called {name!r}; there are {', '.join(SERVICES)}")
        if not number.isdecimal() or not 1 <= int(number) <= MAX_REPLICAS:
            raise UsageProblem(f"--scale {entry}: the number must be 1 to {MAX_REPLICAS}, as in --scale {name}=2")
        replicas[name] = int(number)
    return replicas


def check_scale(replicas: Mapping[str, int], settings: LauncherSettings) -> None:
    """Raise UsageProblem when a service that must be alone has replicas."""
    reasons = {"gateway": "all replicas would need the same port; put several machines behind a load balancer instead"}
    if not settings.has_qdrant_server:
        reasons["retriever"] = (
            "one process may open the embedded index; set RAG_QDRANT_URL to a Qdrant server, which takes several"
        )
    if not settings.has_sql_server:
        reasons["persistence"] = (
            "one process may write to SQLite; set RAG_DATABASE_URL to a PostgreSQL database, which takes several"
        )
    for name, reason in reasons.items():
        if replicas[name] > 1:
            raise UsageProblem(f"--scale {name}={replicas[name]} is not possible: {reason}")
