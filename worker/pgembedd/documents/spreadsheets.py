"""XLSX, XLSB, XLS and ODS, by calamine: a sheet is a table, cut where it is long, under its name."""

from dataclasses import replace
from datetime import date, datetime, time
from io import BytesIO

from python_calamine import CalamineError, CalamineWorkbook

from pgembedd.documents.document import Document
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.package import Package, Properties
from pgembedd.documents.sections import Sections


def read_workbook(package: Package, kind: str) -> Document:
    """Reads an XLSX, XLSB or ODS."""
    properties = Properties()
    package.parse("docProps/core.xml", properties)
    package.parse("meta.xml", properties)
    package.check_size()
    return replace(_read(package.file, kind), metadata=properties.metadata())


def read_ole(file: bytes) -> Document:
    """Reads an XLS, the one kind of those files of Office before 2007 that is."""
    if "EncryptedPackage".encode("utf-16-le") in file:
        raise UnreadableFile("The document is encrypted: store it without a password.")
    if "Workbook".encode("utf-16-le") not in file:
        raise UnreadableFile("The file is of an Office before 2007 (DOC, PPT, MSG): store it as DOCX, PPTX or PDF.")
    return _read(file, "xls")


def _read(file: bytes, kind: str) -> Document:
    try:
        return _sheets(CalamineWorkbook.from_filelike(BytesIO(file)), kind)
    except CalamineError as error:
        raise UnreadableFile(f"The workbook is damaged or encrypted: {str(error)[:200].rstrip('.')}.") from error


def _sheets(workbook: CalamineWorkbook, kind: str) -> Document:
    sections = Sections()
    empty = 0
    for name in workbook.sheet_names:
        rows = [[_text(cell) for cell in row] for row in workbook.get_sheet_by_name(name).iter_rows()]
        if not any(map(any, rows)):
            empty += 1
            continue
        sections.end_page(forget=True)
        sections.heading(1, name)
        sections.table(rows)
    sheets = len(workbook.sheet_names)
    notes = (f"{empty:,} of {sheets:,} sheets hold no text.",) if empty else ()
    return Document(kind, sections.pages(), {}, notes)


def _text(cell: object) -> str:
    """Returns a cell's value; a number without decimals it does not have, a date in ISO 8601."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time():
        return cell.date().isoformat()
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    return str(cell)
