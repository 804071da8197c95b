"""A setting: a field of a dataclass with its environment variable, its help and what it may be."""

from dataclasses import Field, field
from typing import Any


def setting(
    default: Any,
    help_text: str,
    *,
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    variable: str = "",
) -> Any:
    """Returns a field of Settings. A number has `bounds`, the least and the most.

    A `secret` is never an option: every user of the machine can read a command line. The environment variable is
    PGEMBEDD_ with the name of the field in capitals, unless another is given.
    """
    known = {"variable": variable, "help": help_text, "bounds": bounds, "choices": choices, "secret": secret}
    return field(default=default, repr=not secret, metadata=known)


def variable_of(setting: "Field[Any]") -> str:
    """Returns the environment variable of a setting."""
    return setting.metadata["variable"] or f"PGEMBEDD_{setting.name.upper()}"
