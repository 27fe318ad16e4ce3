"""Legacy and binary workbooks (.xls, .xlt, .xlsb), by calamine: as `xlsx` reads them, without comments and charts.

calamine holds one sheet at a time, empty cells between used ones included: a sheet that claims too many ends at the
memory limit.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
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
from services.parser.formats.archive import Archive
from services.parser.formats.cell_values import number_text
from services.parser.formats.ole import OLE_MARK, encrypted, streams
from services.parser.formats.sheets import Rows, under

_FILE_PASS, _END_OF_PART = 0x2F, 0x0A

_Value = int | float | str | bool | time | date | datetime | timedelta


def extract(source: Source) -> Extracted:
    """Read a workbook; raises ExtractionError `encrypted` or `corrupt`."""
    if _is_encrypted(source.content):
        raise encrypted()
    if not source.content.startswith(OLE_MARK):
        Archive(source.content).admit_all()
    with _known_errors():
        return Extracted(None, _blocks(load_workbook(BytesIO(source.content))))


@contextmanager
def _known_errors() -> Iterator[None]:
    try:
        yield
    except PasswordError as error:
        raise encrypted() from error
    except (CalamineError, OSError) as error:
        raise _damaged(error) from error
    except BaseException as error:
        # A panic of calamine is a BaseException of a class that cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise _damaged(error) from error


def _damaged(error: BaseException) -> ExtractionError:
    return ExtractionError("corrupt", f"The workbook is damaged ({error}). Save it again as .xlsx.")


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
    with _known_errors():
        sheet = workbook.get_sheet_by_name(name)
    for values in sheet.iter_rows():
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
