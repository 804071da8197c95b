"""The errors pgembedd raises, and what each one decides.

Every message is one sentence a person can act on: it names the thing and the remedy. What to do about
an error is its type, never its text: nothing in this project parses a message.
"""


class PgembeddError(Exception):
    """Base of all our errors; the command line prints it as one sentence and exits with `exit_code`."""

    exit_code = 1


class ConfigurationError(PgembeddError):
    """A setting, an argument or a missing right: somebody has to change something before a retry helps."""

    exit_code = 2


class DatabaseUnavailableError(PgembeddError):
    """The database cannot be reached. Weather: the worker waits and reconnects, a command gives up."""

    exit_code = 3


class SchemaError(PgembeddError):
    """The pgembedd schema is missing, older or newer than this code."""

    exit_code = 4


class ModelError(PgembeddError):
    """The model's files are missing, damaged, or do not describe an encoder we can run."""

    exit_code = 5


class ModelUnavailableError(ModelError):
    """The model's files cannot be fetched from here (no network, no such repository). Transient."""


class ModelMismatchError(ModelError):
    """A pipeline is pinned to another model fingerprint than the one loaded."""


class UnknownTokenError(PgembeddError):
    """A token id that no text gives in the model's vocabulary: the ids were made for another model."""

    exit_code = 2


class OverloadedError(PgembeddError):
    """More texts wait for the model than may, or it is being closed. Transient: ask again a little later."""


class WrongVectorsError(PgembeddError):
    """`pgembedd verify` found vectors that are not those of their rows, and nobody asked it to queue them."""

    exit_code = 6


class RowFailure(Exception):  # noqa: N818  what it decides is its name: this row failed an attempt
    """Working on these rows failed, for a reason in the rows or in the user's own code: counts as an attempt."""

    def __init__(self, reason: str, detail: str, *, permanent: bool = False) -> None:
        """`reason` is one of a few words for metrics and filters; `detail` may hold content, so it is never logged."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.permanent = permanent


class Deferred(Exception):  # noqa: N818
    """The jobs are to be given back without an attempt: locked rows, a stopped pipeline, a model not here."""

    def __init__(self, why: str, delay_s: float) -> None:
        """`delay_s`: how long the jobs stay out of sight."""
        super().__init__(why)
        self.why = why
        self.delay_s = delay_s
