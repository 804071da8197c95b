"""A file that cannot be read, and a missing extra."""

from importlib.metadata import PackageNotFoundError, version

from pgembedd.errors import ConfigurationError, PgembeddError

PACKAGES = ("faust-cchardet", "pypdfium2", "python-calamine")
"""The extra `documents`."""


class UnreadableFile(PgembeddError):  # noqa: N818  named after its decision: this file has no text for us
    """A file that no text is read of: one sentence that says why. Permanent until the file is another."""


class ParserEndedError(UnreadableFile):
    """The processes that parsed a file ended, by the file or from outside: another try may go well."""


def versions() -> list[str]:
    """Returns the packages of the extra as `name-version`; ConfigurationError where one is missing."""
    try:
        return [f"{package}-{version(package)}" for package in PACKAGES]
    except PackageNotFoundError as error:
        raise ConfigurationError(
            f"Files cannot be parsed, as the package {error.name} is missing: pip install 'pgembedd[documents]'."
        ) from error
