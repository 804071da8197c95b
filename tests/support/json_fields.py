"""The rule for times in JSON: a length is a number of seconds in a field that ends in _s, a moment is ISO 8601."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

LENGTH = re.compile(r"(^|_)(age|lag|left|delay|duration|elapsed|latency|timeout|uptime|wait|waited|silent_for)$")
MOMENT = re.compile(r"(^|_)(at|since|until)$")
INTERVAL = re.compile(r"-?(\d+ (day|mon|year)s?\b.*|\d+:\d\d(:\d\d)?(\.\d+)?|\d+(\.\d+)? ?(ms|s|min|h|d)|P[\dT].*)")
OF_USERS = {"row", "record"}
"""Fields whose members are a user's columns."""


def breaches(value: Any, name: str = "") -> Iterator[str]:
    """The fields of a JSON value that break the rule."""
    if isinstance(value, dict):
        for field, member in value.items():
            if field not in OF_USERS:
                yield from breaches(member, field)
    elif isinstance(value, list):
        for member in value:
            yield from breaches(member, name)
    elif value is None:
        return
    elif name.endswith("_s"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{name} is no number: {value!r}"
    elif LENGTH.search(name) or (isinstance(value, str) and INTERVAL.fullmatch(value)):
        yield f"{name} is a length of time without its unit: {value!r}"
    elif MOMENT.search(name) and not _is_moment(value):
        yield f"{name} is no moment: {value!r}"


def _is_moment(value: Any) -> bool:
    """Whether it is a date and a time of ISO 8601 with their zone."""
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
