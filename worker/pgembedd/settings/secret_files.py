"""Secrets, which are read from files that settings name."""

from pathlib import Path

from pgembedd.errors import ConfigurationError


def read_secret(path: str, named_by: str) -> str:
    """Returns the stripped content of the file; ConfigurationError if it cannot be read or is empty."""
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(f"The file {path} named by {named_by} cannot be read: {reason}.") from error
    if not secret:
        raise ConfigurationError(f"The file {path} named by {named_by} is empty.")
    return secret


def read_key(path: str, named_by: str) -> str:
    """Returns a key that is sent in a header; ConfigurationError also for a file that holds something else."""
    key = read_secret(path, named_by)
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"The file {path} named by {named_by} holds more than a key: write one line of printable ASCII characters."
        )
    return key
