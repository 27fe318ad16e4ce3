"""Legacy and binary workbooks (.xls, .xlt, .xlsb), by calamine: as `xlsx` reads them, without comments and charts.

calamine holds one sheet at a time, empty cells between used ones included: a sheet that claims too many ends at the
memory limit.
"""

import struct
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from io import BytesIO

from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    PasswordError,
    SheetVisibleEnum,
    load_workbook,
)

from services.parser.document import Block, Extracted, Heading, Section, Source
from services.parser.errors import ExtractionError
from services.parser.formats.cell_values import number_text
from services.parser.formats.ole import OLE_MARK, encrypted, streams
from services.parser.formats.sheets import Rows, under

_FILE_PASS, _END_OF_PART = 0x2F, 0x0A

_Value = int | float | str | bool | time | date | datetime | timedelta


def extract(source: Source) -> Extracted:
    """Read a workbook; raises ExtractionError `encrypted` or `corrupt`."""
    if _is_encrypted(source.content):
        raise encrypted()
    try:
        workbook = load_workbook(BytesIO(source.content))
    except PasswordError as error:
        raise encrypted() from error
    except CalamineError as error:
        raise ExtractionError("corrupt", f"The workbook is damaged ({error}). Save it again as .xlsx.") from error
    return Extracted(None, _blocks(workbook))


def _is_encrypted(content: bytes) -> bool:
    """Look for a FilePass record ([MS-XLS] 2.4.117) before the first sheet; calamine takes such files for damaged."""
    if not content.startswith(OLE_MARK):
        return False
    book = next(iter(streams(content, "Workbook", "Book").values()), b"")
    position = 0
    while position + 4 <= len(book):
        kind, size = struct.unpack_from("<HH", book, position)
        if kind in (_FILE_PASS, _END_OF_PART):
            return bool(kind == _FILE_PASS)
        position += 4 + size
    return False


def _blocks(workbook: CalamineWorkbook) -> Iterator[Block]:
    for number, sheet in enumerate(workbook.sheets_metadata, 1):
        if sheet.visible is not SheetVisibleEnum.VeryHidden:
            yield from under(Heading(1, sheet.name, number), _rows(workbook, sheet.name, number))


def _rows(workbook: CalamineWorkbook, name: str, page: int) -> Iterator[Section]:
    rows = Rows(page)
    for values in workbook.get_sheet_by_name(name).iter_rows():
        cells = ((column, _text(value)) for column, value in enumerate(values, 1))
        yield from rows.take([(column, text) for column, text in cells if text])
    yield from rows.end()


def _text(value: _Value) -> str:
    match value:
        case bool():
            return str(value).upper()
        case int() | float():
            return number_text(repr(value))
        case datetime():
            return value.isoformat(" ").removesuffix(" 00:00:00")
        case timedelta():
            return number_text(repr(value.total_seconds() / 86_400), "duration")
    return str(value).strip()
