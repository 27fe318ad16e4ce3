"""How searches of an evaluation are asked and counted."""

from typing import Any

import pytest

from services.cli.evaluation.http_platform import Refusal
from services.cli.evaluation.retrieval import MODES, Target, failures, reranked_share

TARGET = Target("http://127.0.0.1:8000", "facts", concurrency=4)
REFUSED = Refusal("timeout", "took too long")


@pytest.mark.parametrize(
    ("replies", "share"),
    [
        ([{"hits": []}, {"hits": []}], None),
        ([{"reranked": True}, {"reranked": False}, {"reranked": True}, {"reranked": True}], 0.75),
        ([{"reranked": False}], 0.0),
        ([{"reranked": True}, REFUSED], 1.0),
        ([REFUSED], None),
    ],
)
def test_the_share_of_reranked_replies_is_of_those_that_speak_of_it(replies: list[Any], share: float | None) -> None:
    assert reranked_share(replies) == share


def test_failures_are_counted_by_their_code() -> None:
    assert failures([REFUSED, {"hits": []}, Refusal("not_ready", "x"), REFUSED]) == {"timeout": 2, "not_ready": 1}


@pytest.mark.parametrize(("mode", "at_a_time"), [("dense", 4), ("sparse", 4), ("hybrid", 4), ("hybrid+rerank", 1)])
def test_reranked_searches_run_one_after_the_other(mode: str, at_a_time: int) -> None:
    assert TARGET.for_mode(MODES[mode]) == at_a_time


def test_documents_are_known_by_the_dataset_s_own_ids_however_they_were_ingested() -> None:
    hits = [{"document_id": name} for name in ("facts/1", "2", "facts/facts/3")]
    assert TARGET.documents({"hits": hits}) == ["1", "2", "facts/3"]
