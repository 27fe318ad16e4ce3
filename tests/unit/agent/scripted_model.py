"""A language model that says what a test wants."""

from collections.abc import AsyncGenerator

from services.agent.llm import ChatRequest, Completion, Usage

Script = str | Exception


class ScriptedModel:
    """Takes the next scripted text or error for each request; counts a token for each word."""

    name = "scripted"

    def __init__(self, *script: Script, window_tokens: int = 4_000) -> None:
        self.window_tokens = window_tokens
        self.script = list(script)
        self.requests: list[ChatRequest] = []
        self.deadlines: list[float | None] = []

    async def stream(self, request: ChatRequest, *, deadline: float | None = None) -> AsyncGenerator[str | Completion]:
        self.requests.append(request)
        self.deadlines.append(deadline)
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        for piece in said.split(" "):
            yield piece if piece == said.split(" ")[0] else f" {piece}"
        yield Completion(said, "stop", Usage(input_tokens=50, output_tokens=5, cost=0.5, calls=1))

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def close(self) -> None:
        """Do nothing."""
