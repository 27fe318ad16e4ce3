"""One `rag ingest` from the first file to the summary."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.table import Table

from services.cli.batches import Batch, make_batches
from services.cli.client import Gateway
from services.cli.errors import EXIT_FAILURE, CommandError, first_of_many
from services.cli.ingest_progress import Reporter, view_for
from services.cli.sources import Broken, Source, SourceOptions, count_documents, find_sources, read_sources
from services.cli.tally import Failure, Tally
from services.cli.terminal import one_line, print_json, show
from services.cli.uploading import Upload, UploadOptions

SHOWN_FAILURES: Final = 20


def run_ingestion(
    paths: list[Path], url: str, source: SourceOptions, upload: UploadOptions, *, batch_documents: int, as_json: bool
) -> int:
    """Load everything, print the summary, return the exit code; CommandError when the gateway can't be reached."""
    sources = find_sources(paths)
    tally = Tally(count_documents(sources, source))
    if not tally.total:
        raise CommandError(f"nothing to ingest in {', '.join(map(str, paths))}; hidden and empty files do not count")
    try:
        load(sources, tally, url, source, upload, batch_documents=batch_documents, as_json=as_json)
    finally:
        # Also after Ctrl-C or when the gateway has gone: what is in stays in.
        if tally.accepted or tally.failures:
            print_summary(tally, waited=upload.wait_seconds is not None, as_json=as_json)
    return EXIT_FAILURE if tally.failures else 0


def load(
    sources: list[Source],
    tally: Tally,
    url: str,
    source: SourceOptions,
    upload: UploadOptions,
    *,
    batch_documents: int,
    as_json: bool,
) -> None:
    """Load the sources and count in `tally` what becomes of them; CommandError when the gateway can't be reached."""
    batches = make_batches(read_sources(sources, source), max_documents=batch_documents)
    with view_for(tally.total, as_json=as_json) as view:
        asyncio.run(_send(url, Reporter(tally, view, as_json=as_json), upload, batches))


async def _send(url: str, reporter: Reporter, options: UploadOptions, batches: Iterator[Batch | Broken]) -> None:
    async with Gateway(url) as gateway:
        # A gateway that is not there is said at once; one that goes away later is waited for.
        await gateway.get("/live")
        with first_of_many():
            await Upload(gateway, reporter, options).run(batches)


def print_summary(tally: Tally, *, waited: bool, as_json: bool) -> None:
    """Print what became of the documents."""
    if as_json:
        print_json({"event": "summary", **tally.fields()})
        return
    rate = f" ({tally.documents_per_second:.1f} documents/s)" if waited else ""
    done = f"{tally.indexed} indexed" if waited else f"{tally.accepted} accepted"
    show(f"{done}, {tally.failed} failed in {tally.seconds:.1f} s{rate}", soft_wrap=True)
    if tally.failures:
        show(_failure_table(tally.failures[:SHOWN_FAILURES]))
    if tally.failed > SHOWN_FAILURES:
        show(f"… and {tally.failed - SHOWN_FAILURES} more; --json lists them all")


def _failure_table(failures: list[Failure]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("failed", overflow="fold", ratio=2)
    table.add_column("code", no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=3)
    for failure in failures:
        table.add_row(one_line(failure.document_id), one_line(failure.code), one_line(failure.message, 300))
    return table
