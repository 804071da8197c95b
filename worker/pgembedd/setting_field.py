"""A setting: a dataclass's field with its environment variable and its help."""

from dataclasses import field
from typing import Any


def setting(default: Any, variable: str, help_text: str, *, secret: bool = False) -> Any:
    """Returns a field of Settings with its environment variable and the help of the command line."""
    return field(default=default, repr=not secret, metadata={"variable": variable, "help": help_text})
