"""Reading a credential from a file, as containers and systemd hand them over."""

from pathlib import Path

from pgembedd.errors import ConfigurationError


def read_secret(path: str, named_by: str) -> str:
    """The stripped content of the file; ConfigurationError naming the setting when it cannot be read or is empty."""
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(f"The file {path} named by {named_by} cannot be read: {reason}.") from error
    if not secret:
        raise ConfigurationError(f"The file {path} named by {named_by} is empty.")
    return secret
