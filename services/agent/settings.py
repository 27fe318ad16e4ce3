"""Settings of the agent."""

from pydantic import Field

from shared.settings import PlatformSettings


class AgentSettings(PlatformSettings):
    """How many questions are answered at once, and what one of them may cost."""

    agent_workers: int = Field(default=32, ge=1, le=128, description="Questions in work at the same time.")
    agent_patience_seconds: float = Field(
        default=3.0, ge=0, le=60, description="How long a question waits for a retriever or embedder that is away."
    )
    # Beyond eight the gold sentence of SQuAD 2 is found no more often; each costs the embedder about 4 ms.
    answer_max_embedded_sentences: int = Field(
        default=8, ge=1, le=63, description="Sentences per question that are compared with it by their vectors."
    )
