"""How many processes of a service may run."""

import pytest

from services.cli.errors import UsageProblem
from services.cli.scaling import SERVICES, check_scale, parse_scale
from services.cli.settings import LauncherSettings

ALONE = LauncherSettings(qdrant_url=None, database_url=None)
WITH_SERVERS = LauncherSettings(qdrant_url="http://127.0.0.1:6333", database_url="postgresql://db/rag")


def test_every_service_runs_once_unless_told_otherwise() -> None:
    assert parse_scale(["parser=2", "embedder=32"]) == {**dict.fromkeys(SERVICES, 1), "parser": 2, "embedder": 32}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("indexer=2", "no service is called 'indexer'"),
        ("parser", "the number must be 1 to 32"),
        ("parser=0", "the number must be 1 to 32"),
        ("parser=33", "the number must be 1 to 32"),
        ("parser=two", "the number must be 1 to 32"),
        ("parser=-1", "the number must be 1 to 32"),
        ("parser=²", "the number must be 1 to 32"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(entry: str, reason: str) -> None:
    with pytest.raises(UsageProblem, match=reason) as refused:
        parse_scale([entry])
    assert entry in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "way_out"),
    [("retriever=2", "RAG_QDRANT_URL"), ("persistence=2", "RAG_DATABASE_URL"), ("gateway=2", "port")],
)
def test_what_must_be_alone_is_refused_with_the_way_out(entry: str, way_out: str) -> None:
    with pytest.raises(UsageProblem, match=way_out):
        check_scale(parse_scale([entry]), ALONE)


def test_a_sqlite_address_is_still_one_file() -> None:
    settings = LauncherSettings(qdrant_url=None, database_url="sqlite:///rag.db")
    with pytest.raises(UsageProblem, match="SQLite"):
        check_scale(parse_scale(["persistence=2"]), settings)


def test_servers_of_their_own_lift_the_limits() -> None:
    check_scale(parse_scale(["retriever=4", "persistence=3", "agent=2"]), WITH_SERVERS)
