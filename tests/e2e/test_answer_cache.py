"""Answers from the cache on the whole platform, with two agents."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.platform_process import RunningPlatform, rag, running_platform, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(120)]

QUESTION = "When did the harbour of Lindby open?"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path_factory.mktemp("data"), "--scale", "agent=2") as running:
        yield running


@pytest.fixture
def http(platform: RunningPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=platform.url, timeout=60) as client:
        yield client


def load(http: httpx.Client, document_id: str, text: str, collection: str) -> None:
    documents = [{"id": document_id, "collection": collection, "text": text}]
    reply = http.post("/v1/documents?wait_s=30", json={"documents": documents}).json()
    assert reply["documents"][0]["status"] == "indexed"


def ask(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    reply = http.post("/v1/query", json={"question": QUESTION, **fields})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def warm(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    """Ask until both agents know the answer."""
    answers = wait_until(lambda: (some := [ask(http, **fields) for _ in range(8)])[0]["cached"] and some, "it is known")
    assert answers[-1]["cached"]
    found: dict[str, Any] = answers[-1]
    return found


def test_the_next_question_after_a_delete_is_not_answered_from_it(http: httpx.Client) -> None:
    """INVARIANT: after the delete is acknowledged no answer and no cache shows the document."""
    for round_ in range(5):
        load(http, "harbour", f"The harbour of Lindby opened in {1880 + round_}.", "deleted")
        wait_until(lambda year=1880 + round_: str(year) in ask(http)["answer"], "it is shown")
        assert str(1880 + round_) in warm(http)["answer"]
        assert http.delete("/v1/documents/harbour").status_code == 202
        for answer in [ask(http) for _ in range(4)]:
            assert (answer["answered"], answer["citations"]) == (False, [])


def test_the_next_question_after_an_update_is_answered_from_it(http: httpx.Client) -> None:
    load(http, "port", "The harbour of Lindby opened in 1887.", "updated")
    wait_until(lambda: "1887" in warm(http, collection="updated")["answer"], "it is shown")
    load(http, "port", "The harbour of Lindby opened in 1999.", "updated")
    # `indexed` is said a moment before the retriever shows it: from then on nobody gets the old answer.
    wait_until(lambda: "1999" in ask(http, collection="updated")["answer"], "the new text is shown")
    assert all("1999" in ask(http, collection="updated")["answer"] for _ in range(8))


def test_the_next_question_after_the_delete_of_a_collection_is_not_answered_from_it(http: httpx.Client) -> None:
    """INVARIANT: after the delete is acknowledged no answer and no cache shows the documents."""
    load(http, "quay", "The harbour of Lindby opened in 1887.", "towns")
    wait_until(lambda: "1887" in warm(http)["answer"], "it is shown")
    assert http.delete("/v1/collections/towns").status_code == 202
    for answer in [ask(http) for _ in range(8)]:
        assert "quay" not in [citation["document_id"] for citation in answer["citations"]]


def test_the_command_line_says_where_an_answer_comes_from(platform: RunningPlatform, http: httpx.Client) -> None:
    load(http, "pier", "The harbour of Lindby opened in 1887.", "told")
    warm(http, collection="told")
    told = rag("ask", QUESTION, "--collection", "told", url=platform.url)
    assert "1887" in told.stdout
    assert "(cached)" in told.stdout
    assert json.loads(rag("ask", QUESTION, "--collection", "told", "--json", url=platform.url).stdout)["cached"]
