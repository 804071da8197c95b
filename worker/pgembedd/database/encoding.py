"""Replaces characters that a database of another encoding than UTF-8 lacks, in what a worker writes into it."""

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.types.json import set_json_dumps
from psycopg.types.string import StrDumperUnknown


def replace_foreign_characters(connection: psycopg.Connection) -> None:
    """Writes `?` for a character that the database's encoding lacks, on this connection, instead of failing.

    Contents and keys come from the database, so they have none.
    """
    if (codec := _codec(connection.info.parameter_status("server_encoding") or "UTF8")) is None:
        return

    known: str = codec

    class Dumper(StrDumperUnknown):
        def dump(self, obj: str) -> Buffer | None:
            return super().dump(_replaced(obj, known))

    connection.adapters.register_dumper(str, Dumper)
    set_json_dumps(_JsonDumps(codec), connection)


@dataclass(frozen=True)
class _JsonDumps:
    codec: str

    def __call__(self, value: Any) -> str:
        return _replaced(json.dumps(value, ensure_ascii=False), self.codec)


def _replaced(text: str, codec: str) -> str:
    return text.encode(codec, "replace").decode(codec)


def _codec(encoding: str) -> str | None:
    """Returns Python's name of a server encoding; None for UTF-8, and where Python lacks it."""
    if encoding == "UTF8":
        return None
    if encoding == "SQL_ASCII":  # takes any bytes, but no escapes in JSON
        return "utf-8"
    name = re.sub(r"^WIN(?=\d)", "cp", re.sub(r"^KOI8", "koi8-", encoding))
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None
