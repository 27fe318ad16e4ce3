"""Settings of the agent."""

from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings import PlatformSettings


class AgentSettings(PlatformSettings):
    """How many questions are answered at once, and what one of them may cost."""

    agent_workers: int = Field(default=32, ge=1, le=128, description="Questions in work at the same time.")
    agent_patience_seconds: float = Field(
        default=3.0, ge=0, le=60, description="How long a question waits for a retriever or embedder that is away."
    )
    agent_unattended_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="How long an answer that is streamed may have no listener before its work is cancelled.",
    )
    # Beyond eight the gold sentence of SQuAD 2 is found no more often; each costs the embedder about 4 ms.
    answer_max_embedded_sentences: int = Field(
        default=8, ge=1, le=63, description="Sentences per question that are compared with it by their vectors."
    )

    llm_base_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Base URL of an OpenAI-compatible endpoint (`…/v1`); none = the extractive answerer.",
    )
    llm_api_key: SecretStr | None = Field(default=None, description="Key of the endpoint.")
    llm_model: str = Field(
        default="default", min_length=1, description="Name under which the endpoint knows the model."
    )
    llm_window_tokens: int = Field(
        default=8_192, ge=512, le=10_000_000, description="Tokens that question, passages and answer have together."
    )
    llm_max_output_tokens: int = Field(default=800, ge=16, le=100_000, description="Tokens of one answer at most.")
    llm_temperature: float = Field(default=0.0, ge=0, le=2, description="How far the model may stray.")
    llm_tokenizer: Path | None = Field(
        default=None, description="The model's tokenizer.json; none = estimated, corrected by what the endpoint counts."
    )
    llm_first_token_seconds: float = Field(default=20.0, gt=0, le=600, description="Patience for an answer to begin.")
    llm_idle_seconds: float = Field(default=15.0, gt=0, le=600, description="Patience between two pieces of an answer.")
    llm_timeout_seconds: float = Field(default=55.0, gt=0, le=3_600, description="Patience for a whole answer.")
    llm_attempts: int = Field(default=3, ge=1, le=10, description="Tries of one request, the first one included.")
    llm_breaker_failures: int = Field(
        default=5, ge=1, le=1_000, description="Failed requests in a row after which the endpoint is left alone."
    )
    llm_breaker_seconds: float = Field(default=10.0, gt=0, le=600, description="How long it is then left alone.")
    llm_input_price: float = Field(default=0.0, ge=0, description="Price of a million tokens sent, in any currency.")
    llm_output_price: float = Field(default=0.0, ge=0, description="Price of a million tokens received.")
    llm_delta_seconds: float = Field(
        default=0.05, ge=0, le=5, description="Least time between two pieces of text sent to the caller."
    )
