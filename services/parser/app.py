"""The parser process: documents in, chunks out, every document read by a confined child process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts import topology
from contracts.documents import IngestMessage
from services.parser.handlers import ParserHandlers
from services.parser.payloads import Payloads
from services.parser.sandbox import Sandbox
from services.parser.settings import ParserSettings
from shared import models
from shared.errors import Misconfigured
from shared.service import Lifespan, Service, run_service
from shared.settings import load


def build_lifespan(settings: ParserSettings) -> Lifespan:
    """Return the service's lifespan."""

    @asynccontextmanager
    async def lifespan(service: Service) -> AsyncIterator[None]:
        sandbox = Sandbox(tokenizer=tokenizer_file(settings))
        await sandbox.start()
        payloads = Payloads(
            service.uploads, max_bytes=settings.parser_max_document_bytes, timeout_seconds=settings.parser_fetch_seconds
        )
        handlers = ParserHandlers(
            sandbox, payloads, service.publisher, backpressure_seconds=settings.parser_backpressure_seconds
        )
        service.consume(topology.PARSER, IngestMessage, handlers.on_ingest, workers=settings.parser_workers)
        yield
        await sandbox.close()

    return lifespan


def tokenizer_file(settings: ParserSettings) -> str:
    """Return the path of the tokenizer that chunks are measured with."""
    try:
        return str(models.verify(settings.embedding_model, settings.models_dir).tokenizer)
    except models.ModelError as error:
        raise Misconfigured(str(error)) from None


def main() -> None:
    """Run the parser until a signal comes."""
    settings = load(ParserSettings)
    run_service("parser", settings, build_lifespan(settings))


if __name__ == "__main__":
    main()
