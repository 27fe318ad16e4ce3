"""The tools that look at documents: whose they are is the question's to say, whatever a model writes."""

import time
from typing import Any, TypeVar

import pytest

from contracts.messages import Message
from contracts.reads import DocumentPage
from contracts.retrieval import PassagesReply, RetrieveReply
from services.agent.agent_mode.document_tools import Calculate, document_tools
from services.agent.agent_mode.tool import AgentTool, CallContext
from tests.unit.agent.library import question_of

ReplyT = TypeVar("ReplyT", bound=Message)
SCOPE: dict[str, Any] = {"tenant": "globex", "collection": "vault", "filter": {}}
REPLIES: dict[str, Message] = {
    "search_documents": RetrieveReply(hits=[], took_ms={}, model="m"),
    "read_document": PassagesReply(passages=[]),
    "list_documents": DocumentPage(items=[], next_cursor=None),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "search_documents": {"query": "payroll"},
    "read_document": {"document_id": "payroll"},
    "list_documents": {},
}


class Asked:
    """Remembers what a tool asks the services."""

    def __init__(self, reply: Message) -> None:
        self.requests: list[Any] = []
        self._reply = reply

    async def __call__(
        self, subject: str, request: Message, reply: type[ReplyT], *, deadline: float | None = None
    ) -> ReplyT:
        self.requests.append(request)
        assert isinstance(self._reply, reply)
        return self._reply


def tools_of(asked: Asked) -> dict[str, AgentTool]:
    return {tool.told.name: tool for tool in document_tools(asked, max_bytes=1_000, filtered=False)}


def test_every_tool_that_asks_a_service_is_tried_here() -> None:
    assert set(tools_of(Asked(PassagesReply(passages=[])))) == {*ARGUMENTS, Calculate.told.name}


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
async def test_whose_documents_is_never_the_model_s_to_say(name: str) -> None:
    """INVARIANT: a call is for the tenant and the collection of the question, whatever its arguments name.

    The schema refuses such arguments as well; this holds also where it were opened.
    """
    asked = Asked(REPLIES[name])
    context = CallContext(question_of("q", collection="harbour", filter={"team": "web"}), time.time() + 5)
    await tools_of(asked)[name]({**ARGUMENTS[name], **SCOPE}, context)
    [request] = asked.requests
    assert (request.tenant, request.collection) == ("acme", "harbour")
    assert getattr(request, "filter", {"team": "web"}) == {"team": "web"}


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_model_is_offered_nothing_to_say_it_with(name: str) -> None:
    parameters = tools_of(Asked(REPLIES[name]))[name].told.parameters
    assert parameters["additionalProperties"] is False
    assert not SCOPE.keys() & parameters["properties"].keys()
