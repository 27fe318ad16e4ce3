"""Prints the figures of an evaluation."""

import sys
from collections.abc import Mapping
from typing import Any

from rich import table as rich_table

from services.cli.evaluation.report import Table, markdown, notes, tables, title, without_results
from services.cli.terminal import one_line, print_json, show


def show_figures(figures: Mapping[str, Any], *, as_json: bool, markdown_form: bool) -> None:
    """Print the figures as one JSON document, as Markdown, or as tables for people."""
    if as_json:
        print_json(without_results(figures))
    elif markdown_form:
        sys.stdout.write(markdown(figures))
    else:
        _show(figures)


def _show(figures: Mapping[str, Any]) -> None:
    show(one_line(title(figures), 500), soft_wrap=True)
    for table in tables(figures):
        show("")
        show(_rich(table))
    for note in notes(figures):
        show(one_line(note, 500), soft_wrap=True)


def _rich(table: Table) -> rich_table.Table:
    shown = rich_table.Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column(table.headers[0], overflow="fold")
    for header in table.headers[1:]:
        shown.add_column(header, justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*map(one_line, row))
    return shown
