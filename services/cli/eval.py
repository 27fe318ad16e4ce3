"""`rag eval`: how well search and answers do on a folder of judged queries or questions."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.errors import UsageProblem
from services.cli.options import DEFAULT_URL, Json, Url

DEFAULT_CONCURRENCY = 4
DEFAULT_SEED = 0

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="corpus.jsonl with qrels or qa.jsonl.")
]


# Named for the command; nothing in here evaluates Python.
def eval(
    folder: Folder,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", metavar="NAME", help="Use it; default: the folder's name.")
    ] = None,
    no_ingest: Annotated[bool, typer.Option("--no-ingest", help="The collection is filled already.")] = False,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Which file of qrels/ (default: test).")] = None,
    out_of_domain: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Questions that these documents can't answer."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Ask at most N of each kind.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which sample --limit takes.")] = DEFAULT_SEED,
    concurrency: Annotated[
        int, typer.Option(min=1, max=32, metavar="N", help="Requests at the same time.")
    ] = DEFAULT_CONCURRENCY,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep figures and every result as JSON.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Measure search and answers on judged questions.

    DIR holds corpus.jsonl with queries.jsonl and qrels.tsv or qrels/*.tsv (BEIR's form), or with qa.jsonl, or all of
    them; each .jsonl may be a .jsonl.gz. The corpus is ingested first, into a collection of its own.
    """
    if as_json and markdown:
        raise UsageProblem("--json and --markdown exclude one another")
    # Imports the HTTP client and the contracts, which takes half a second that `rag --help` shall not.
    from services.cli.evaluation.evaluating import EvaluationOptions, run_evaluation
    from services.cli.evaluation.showing import show_figures

    options = EvaluationOptions(
        url=url,
        collection=collection,
        ingest=not no_ingest,
        split=split,
        out_of_domain=out_of_domain,
        limit=limit,
        seed=seed,
        concurrency=concurrency,
        out=out,
    )
    show_figures(run_evaluation(folder, options), as_json=as_json, markdown_form=markdown)
