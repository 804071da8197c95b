"""A setting: a field of a dataclass with its environment variable, its help and what it may be."""

import os
from dataclasses import Field, field
from typing import Any


def setting(
    default: Any,
    help_text: str,
    *,
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    fallback: str = "",
) -> Any:
    """Returns a field of Settings. A number has `bounds`, the least and the most.

    A `secret` is never an option: every user of the machine can read a command line. `fallback` is the variable of
    another program that is read where ours is not set.
    """
    known = {"fallback": fallback, "help": help_text, "bounds": bounds, "choices": choices, "secret": secret}
    return field(default=default, repr=not secret, metadata=known)


def variable_of(setting: "Field[Any]") -> str:
    """Returns the environment variable of a setting: PGEMBEDD_ with the name of the field in capitals."""
    return f"PGEMBEDD_{setting.name.upper()}"


def variables_of(setting: "Field[Any]") -> list[str]:
    """Returns the variables that a setting is read from; the first that is set and not empty counts."""
    return [variable_of(setting), *filter(None, [setting.metadata["fallback"]])]


def text_from_environment(setting: "Field[Any]") -> str:
    """Returns the value of a setting in the environment, "" for none."""
    return next(filter(None, map(os.environ.get, variables_of(setting))), "")
