"""`rag dead-letters`: what could not be processed, and what to do with it."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from services.cli.options import DEFAULT_URL, Json, Url, parse_moment

MAX_LISTED: Final = 10_000

Consumer = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only those of this stage, as `rag status` names it.")
]
Code = Annotated[str | None, typer.Option(metavar="CODE", help="Only those with this error code.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only from then on: 2026-11-01T10:00Z, or 2h ago as 2h.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only from before then.")]
Seq = Annotated[int, typer.Argument(metavar="SEQ", min=1, help="Its number in the list.")]
Seqs = Annotated[list[int], typer.Argument(metavar="SEQ…", min=1, help="Their numbers in the list.")]


def list_letters(
    consumer: Consumer = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LISTED, metavar="N", help="At most so many.")
    ] = 50,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first."""
    # Imports the HTTP client and rich, which takes half a second that `rag --help` shall not.
    from services.cli.dead_letter_views import print_letters, read_letters
    from services.cli.terminal import print_json

    page = read_letters(url, _filter(consumer, code, since, until), limit)
    (print_json if as_json else print_letters)(page)


def show_letter(seq: Seq, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show one with its reason, its headers and its payload."""
    from services.cli.asking import read_gateway
    from services.cli.dead_letter_views import PATH, print_letter
    from services.cli.terminal import print_json

    letter = read_gateway(url, f"{PATH}/{seq}")
    (print_json if as_json else print_letter)(letter)


def replay_letters(
    seqs: Annotated[
        list[int] | None, typer.Argument(metavar="[SEQ…]", min=1, help="Their numbers in the list.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that match the other options, oldest first.")] = False,
    consumer: Consumer = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> int:
    """Send messages again, once their cause is mended; exit code 1 when one was not."""
    from services.cli.replaying import replay_matching, replay_these

    wanted = _filter(consumer, code, since, until)
    if every == bool(seqs):
        raise typer.BadParameter("give the numbers of letters, or --all with or without a filter")
    if seqs and wanted:
        raise typer.BadParameter("--consumer, --code, --since and --until go with --all")
    return replay_these(url, seqs, as_json=as_json) if seqs else replay_matching(url, wanted, as_json=as_json)


def discard_letters(seqs: Seqs, url: Url = DEFAULT_URL, as_json: Json = False) -> int:
    """Remove letters for good; their documents stay failed."""
    from services.cli.replaying import discard_these

    return discard_these(url, seqs, as_json=as_json)


LETTER_COMMANDS: Final[dict[str, Callable[..., Any]]] = {
    "list": list_letters,
    "show": show_letter,
    "replay": replay_letters,
    "discard": discard_letters,
}


def _filter(consumer: str | None, code: str | None, since: str | None, until: str | None) -> dict[str, Any]:
    given = {
        "consumer": consumer,
        "code": code,
        "since": parse_moment("--since", since),
        "until": parse_moment("--until", until),
    }
    return {name: value for name, value in given.items() if value is not None}
