"""Settings of the agent."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from contracts.subjects import TOOL_NAME
from shared.caching.settings import CacheSettings

KIB = 1024


class AgentSettings(CacheSettings):
    """How many questions are answered at once, and what one of them may cost."""

    # More than ask at once on a small machine: answers that only end must not keep a new question from beginning.
    agent_workers: int = Field(default=64, ge=1, le=128, description="Questions in work at the same time.")
    # Of 4, 6 and 8 on two cores: more, and first words wait; fewer, and a core may have nothing to do.
    agent_first_words: int = Field(
        default=4,
        ge=1,
        le=128,
        description="While so many answers are on the way to their first words, those with a complete text give way.",
    )
    agent_first_words_seconds: float = Field(
        default=1.0, ge=0, le=10, description="How long an answer with a complete text gives way to them at most."
    )
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

    conversation_turns: int = Field(
        default=8, ge=1, le=20, description="Turns of a conversation that a question may point back to."
    )
    conversation_history_tokens: int = Field(
        default=1_500, ge=50, le=100_000, description="Tokens of them that a model reads to rewrite a question."
    )
    conversation_rewrite_tokens: int = Field(
        default=200, ge=16, le=4_000, description="Tokens of a rewritten question."
    )
    conversation_rewrite_seconds: float = Field(
        default=10.0, gt=0, le=120, description="Patience for a rewritten question; then it is answered as it is."
    )
    conversation_turn_bytes: int = Field(
        default=256 * KIB, ge=96 * KIB, le=768 * KIB, description="A turn's size in the history; the rest is cut off."
    )
    conversation_record_seconds: float = Field(
        default=2.0, gt=0, le=30, description="How long an answer waits for its turn to be recorded at once."
    )
    answer_cache: bool = Field(
        default=True, description="Whether a question that was answered before gets the same answer while it holds."
    )
    answer_cache_seconds: float = Field(
        default=3_600.0, gt=0, le=604_800, description="How long an answer is kept at most."
    )
    answer_cache_epoch_seconds: float = Field(
        default=0.5, gt=0, le=10, description="Patience for the retriever to tell whether kept answers still hold."
    )

    llm_base_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Base URL of an OpenAI-compatible endpoint (`…/v1`); none = the extractive answerer.",
    )
    llm_api_key: SecretStr | None = Field(default=None, description="Key of the endpoint.")
    llm_tls_ca: Path | None = Field(
        default=None,
        description="PEM file of the authority that signed the endpoint's certificate; none = public ones.",
    )
    llm_tls_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate for the endpoint, for mutual TLS."
    )
    llm_tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")
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
    llm_tool_calls: Literal["auto", "native", "json_schema"] = Field(
        default="auto",
        description="How mode `agent` has tools called: by the endpoint's own calls (`native`), by replies of a fixed"
        " form (`json_schema`), or by what the endpoint turns out to know (`auto`).",
    )
    llm_input_price: float = Field(default=0.0, ge=0, description="Price of a million tokens sent, in any currency.")
    llm_output_price: float = Field(default=0.0, ge=0, description="Price of a million tokens received.")
    llm_delta_seconds: float = Field(
        default=0.05, ge=0, le=5, description="Least time between two pieces of text sent to the caller."
    )

    agent_tools: str = Field(
        default="", description="Names of NATS tools that the agent may call (`rag.v1.tools.<name>`), comma separated."
    )
    agent_max_steps: int = Field(
        default=8,
        ge=1,
        le=50,
        description="Requests with tools to the language model for one question of mode `agent`.",
    )
    agent_max_tokens: int = Field(
        default=100_000,
        ge=1_000,
        le=100_000_000,
        description="Tokens, sent and received, that such a question may cost.",
    )
    agent_max_seconds: float = Field(
        default=55.0, gt=0, le=110, description="Time that such a question may take, whatever its caller would wait."
    )
    agent_max_cost: float = Field(
        default=0.0, ge=0, description="Money that such a question may cost, by the prices above; 0 = any."
    )
    agent_answer_seconds: float = Field(
        default=15.0, ge=0, le=60, description="Part of that time that is kept for writing the answer."
    )
    agent_max_calls: int = Field(
        default=4, ge=1, le=16, description="Calls of tools that one step may make; they run at the same time."
    )
    agent_tool_seconds: float = Field(default=10.0, gt=0, le=60, description="Time that one call of a tool may take.")
    agent_tool_result_bytes: int = Field(
        default=8_192, ge=256, le=65_536, description="Bytes of one tool's result that the language model is shown."
    )
    agent_tool_reply_bytes: int = Field(
        default=65_536, ge=256, le=1_048_576, description="Bytes that a NATS tool may reply; more counts as a failure."
    )
    agent_discovery_seconds: float = Field(
        default=0.2, gt=0, le=5, description="How long NATS tools may take to tell of themselves."
    )
    agent_discovery_cache_seconds: float = Field(
        default=5.0, ge=0, le=60, description="How long what they told holds before they are asked again."
    )

    @field_validator("agent_tools")
    @classmethod
    def _check_tools(cls, value: str) -> str:
        wrong = [name for name in _names(value) if not TOOL_NAME.match(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no name of a tool; one is of the form {TOOL_NAME.pattern}")
        return value

    @property
    def tool_names(self) -> list[str]:
        """Return the names of the NATS tools that may be called."""
        return _names(self.agent_tools)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
