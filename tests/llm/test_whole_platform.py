"""From a document to an answer that a real language model wrote, through the processes of `rag up`.

What the small model says is not judged; what the platform makes of it is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.llm.llama import LlamaServer
from tests.platform_process import running_platform

pytestmark = [pytest.mark.llm, pytest.mark.timeout(400)]

DOCUMENTS = {
    "bridge": "The Erasmus Bridge in Rotterdam was opened in 1996. It is 802 metres long. Locals call it the Swan.",
    "tunnel": "The Maas Tunnel in Rotterdam was opened in 1942. Cyclists reach it on wooden escalators.",
}
# Each paragraph becomes a chunk of some hundred tokens: more than the model's window in all.
LONG = "\n\n".join(
    f"Section {number} of the pilots' handbook. " + f"Pilots of district {number} report wind and tide by radio. " * 8
    for number in range(30)
)


@pytest.fixture(scope="module")
def api(llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A platform whose agent believes that the model's window is twice what it is."""
    data: Path = tmp_path_factory.mktemp("platform")
    settings = {
        "RAG_LLM_BASE_URL": llama.base_url,
        "RAG_LLM_MODEL": llama.model,
        "RAG_LLM_WINDOW_TOKENS": str(2 * llama.window_tokens),
        "RAG_LLM_MAX_OUTPUT_TOKENS": "40",
        "RAG_LLM_FIRST_TOKEN_SECONDS": "110",
        "RAG_LLM_TIMEOUT_SECONDS": "115",
        "RAG_LLM_INPUT_PRICE": "1",
        "RAG_GATEWAY_QUERY_TIMEOUT_SECONDS": "120",
    }
    with running_platform(data, **settings) as platform, httpx.Client(base_url=platform.url, timeout=130) as client:
        documents = [{"id": name, "collection": "ports", "text": text} for name, text in DOCUMENTS.items()]
        documents.append({"id": "handbook", "collection": "pilots", "text": LONG})
        accepted = client.post("/v1/documents", params={"wait_s": 60}, json={"documents": documents}).json()
        assert {document["status"] for document in accepted["documents"]} == {"indexed"}
        yield client


def ask(api: httpx.Client, question: str, collection: str) -> dict[str, Any]:
    reply = api.post("/v1/query", json={"question": question, "collection": collection})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def test_the_model_s_answer_is_cited_word_for_word_and_costs_what_was_counted(api: httpx.Client) -> None:
    answer = ask(api, "In which year was the Erasmus Bridge in Rotterdam opened?", "ports")
    assert answer["usage"]["llm_calls"] == 1
    assert answer["usage"]["input_tokens"] > 100
    assert answer["usage"]["cost"] == pytest.approx(answer["usage"]["input_tokens"] / 1_000_000)
    assert answer["answered"] == bool(answer["citations"])
    for citation in answer["citations"]:
        assert citation["quote"] in DOCUMENTS[citation["document_id"]]
        assert f"[{citation['n']}]" in answer["answer"]


def test_what_the_documents_do_not_answer_never_reaches_the_model(api: httpx.Client) -> None:
    answer = ask(api, "Which enzyme unwinds DNA during replication?", "ports")
    assert (answer["answered"], answer["citations"]) == (False, [])
    assert not answer["usage"].get("llm_calls")


def test_passages_that_the_real_window_does_not_hold_are_left_out(api: httpx.Client, llama: LlamaServer) -> None:
    """The endpoint knows its window better than the settings: fewer passages are tried until they fit."""
    answer = ask(api, "What do pilots of district 7 report by radio?", "pilots")
    assert answer["usage"]["llm_calls"] == 1
    assert answer["usage"]["input_tokens"] < llama.window_tokens
