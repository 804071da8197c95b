"""Files that settings name: text, a secret, or a format such as TOML."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pgembedd.errors import ConfigurationError


def read_text(path: str | Path, named_by: str = "") -> str:
    """Returns the content of the file; ConfigurationError if it cannot be read, or is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(f"{_named(path, named_by)} cannot be read: {reason}.") from error


def read_format(path: str, named_by: str, name: str, parse: Callable[[str], Any]) -> Any:
    """Returns what `parse` makes of the text, None without a path; its ValueError says that the file is no `name`."""
    if not path:
        return None
    try:
        return parse(read_text(path, named_by))
    except ValueError as error:
        raise ConfigurationError(f"{_named(path, named_by)} is not {name}: {error}.") from error


def read_secret(path: str, named_by: str) -> str:
    """Returns the stripped content of the file; ConfigurationError if it cannot be read or is empty."""
    secret = read_text(path, named_by).strip()
    if not secret:
        raise ConfigurationError(f"{_named(path, named_by)} is empty.")
    return secret


def read_key(path: str, named_by: str) -> str:
    """Returns a key that is sent in a header; ConfigurationError also for a file that holds something else."""
    key = read_secret(path, named_by)
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"{_named(path, named_by)} holds more than a key: write one line of printable ASCII characters."
        )
    return key


def _named(path: str | Path, named_by: str) -> str:
    return f"The file {path} named by {named_by}" if named_by else f"The file {path}"
