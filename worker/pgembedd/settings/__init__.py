"""Settings: each is defined and documented in one place, with its environment variable and its bounds.

Next to them: the connection string (`conninfo`), files that settings name (`files`), the bounds of what may enter
(`limits`), and what the address of another server says of it (`servers`).
"""

from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches

from pgembedd.settings.field import text_from_environment, variable_of, variables_of
from pgembedd.settings.http import HttpSettings
from pgembedd.settings.language import LanguageSettings
from pgembedd.settings.worker import Settings

__all__ = [
    "HttpSettings",
    "LanguageSettings",
    "Settings",
    "text_from_environment",
    "unknown_variables",
    "variable_of",
    "variables",
    "variables_of",
]

# Those that are no setting of a process: an option of `run`, and where files are.
OTHER_VARIABLES = ("PGEMBEDD_HTTP", "PGEMBEDD_CACHE_DIR", "PGEMBEDD_POSTGRES_DIR")


def variables() -> dict[str, str]:
    """Returns the help of every setting by environment variable."""
    return {variable_of(f): f.metadata["help"] for f in (*fields(Settings), *fields(HttpSettings))}


def unknown_variables(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Returns the names that begin as ours do and are none, each with the two nearest that are."""
    known = [*variables(), *OTHER_VARIABLES]
    unknown = sorted(name for name in names if name.startswith("PGEMBEDD_") and name not in known)
    return [(name, get_close_matches(name, known, 2)) for name in unknown]
