"""A setting: a field of a dataclass with its environment variable, its help and what it may be."""

from dataclasses import field
from typing import Any


def setting(
    default: Any,
    variable: str,
    help_text: str,
    *,
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """Returns a field of Settings. A number has `bounds`, the least and the most.

    A `secret` is never an option: every user of the machine can read a command line.
    """
    known = {"variable": variable, "help": help_text, "bounds": bounds, "choices": choices, "secret": secret}
    return field(default=default, repr=not secret, metadata=known)
