"""Which tools a question gets."""

from collections.abc import Awaitable, Callable, Mapping

from contracts.queries import AskQuestion
from services.agent.agent_mode.document_tools import document_tools
from services.agent.agent_mode.tool import AgentTool
from services.agent.patience import Ask

FindTools = Callable[[], Awaitable[Mapping[str, AgentTool]]]


class Toolbox:
    """The tools of every agent, and those that `find_others` finds elsewhere; a name of ours is never replaced."""

    def __init__(self, ask: Ask, find_others: FindTools, *, max_bytes: int) -> None:
        self._ask, self._find_others, self._max_bytes = ask, find_others, max_bytes

    async def tools_for(self, question: AskQuestion) -> dict[str, AgentTool]:
        """Return the tools by name."""
        own = document_tools(self._ask, max_bytes=self._max_bytes, filtered=question.filter is not None)
        return {**await self._find_others(), **{tool.told.name: tool for tool in own}}
