"""Settings of the parser."""

from pydantic import Field

from shared.intake_settings import IntakeSettings
from shared.settings import MIB, EmbeddingModelSettings


class ParserSettings(EmbeddingModelSettings, IntakeSettings):
    """How large a chunk is, and what one document may cost."""

    parser_workers: int = Field(default=2, ge=1, le=64, description="Documents in work at once, a child process each.")
    parser_child_documents: int = Field(
        default=2_000, ge=1, description="Documents that one child process reads before a fresh one takes its place."
    )
    parser_tokenizer: str = Field(
        default="bge-small-en-v1.5-int8", description="Pinned model whose tokenizer measures chunks."
    )
    parser_chunk_tokens: int = Field(default=400, ge=32, le=480, description="Tokens of a chunk at most.")
    parser_overlap_tokens: int = Field(default=48, ge=0, le=128, description="Tokens repeated where a section is cut.")
    parser_prefix_tokens: int = Field(default=96, ge=0, le=256, description="Tokens of title and headings at most.")
    parser_max_document_bytes: int = Field(default=64 * MIB, ge=1024, description="Size of a document at most.")
    parser_fetch_seconds: float = Field(default=60.0, gt=0, description="Time to fetch a payload from the store.")
    parser_fetch_url_seconds: float = Field(
        default=30.0, gt=0, le=600, description="Time to fetch a document from its `uri`, redirects included."
    )
    parser_fetch_redirects: int = Field(default=5, ge=0, le=20, description="Redirects of one fetch at most.")
    parser_max_text_bytes: int = Field(default=64 * MIB, ge=1024, description="Size of the extracted text at most.")
    parser_wall_seconds: float = Field(default=120.0, gt=0, description="Time that one document may take.")
    parser_cpu_seconds: float = Field(default=90.0, gt=0, description="Processor time that one document may take.")
    parser_memory_bytes: int = Field(default=1024 * MIB, ge=128 * MIB, description="Memory of a child process.")
    parser_backpressure_seconds: float = Field(
        default=60.0, ge=0, description="How long a document waits for room in the queue before it is given back."
    )
    parser_ahead_seconds: float = Field(
        default=5.0, gt=0, le=600, description="Work of the embedder, at its measured rate, that is queued ahead of it."
    )
    parser_ahead_floor_bytes: int = Field(
        default=MIB // 4, ge=1024, description="Chunks that may be queued in any case, before the rate is known."
    )
    parser_early_documents: int = Field(
        default=3,
        ge=0,
        le=64,
        description="Documents parsed past a backlog of other tenants at once, of one tenant all but one (0 = none).",
    )
    parser_look_seconds: float = Field(
        default=0.25, gt=0, le=5, description="Time between looks at the queue ahead, while a document waits for it."
    )
    parser_early_look_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Time between looks at who else waits, while documents are in work."
    )
