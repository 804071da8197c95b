"""The errors of pgembedd. The type carries the decision: transient, permanent or configuration.

Every message is one sentence that names the object and the remedy. No code parses a message.
"""

from typing import Any

# What our functions refuse a call with, next to 42501, which is the server's own, too. docs/reference/sql.md
# says what each is raised for. Transient codes are none of them: 40001, 53000, 53400, 55P03 and 57014.
REFUSALS = {
    *("22004", "22023", "42602", "42622", "54000"),  # a value: null, wrong, no name, too long a name, too large
    *("3F000", "42703", "42704", "42883", "42P01", "P0002"),  # nothing has that name, or key
    *("42701", "42710", "42723", "42P07"),  # something has that name already
    *("0A000", "25001", "2BP01", "428C9", "42804", "42809", "55000", "55006"),  # of another type, or in another state
}


def is_refused_call(diagnosis: Any) -> bool:
    """Tells from an error's `diag` that the call is at fault: its arguments, names or rights, or the state it meets.

    The server raises these codes, too, for a table that is altered meanwhile, say, or for a value of a row, which its
    sentence then holds: those are no refusals.
    """
    state = diagnosis.sqlstate
    return state == "42501" or (state in REFUSALS and diagnosis.source_function == "exec_stmt_raise")


def refusal_text(diagnosis: Any) -> str:
    """Returns the sentence and the hint of an error's `diag`, "" where it has neither: in libpq's own errors."""
    return " ".join(filter(None, (diagnosis.message_primary, diagnosis.message_hint)))


class PgembeddError(Exception):
    """The base of all our errors; the command line prints it as one sentence and exits with `exit_code`."""

    exit_code = 1


class ConfigurationError(PgembeddError):
    """A wrong setting or argument, or a missing right. Permanent until it is corrected."""

    exit_code = 2


class SearchRoleError(ConfigurationError):
    """The role that searches on behalf of others has more rights than a search should have."""


class DatabaseUnavailableError(PgembeddError):
    """The database cannot be reached. Transient: a worker waits and reconnects, a command ends."""

    exit_code = 3


class DatabaseRefusedError(DatabaseUnavailableError):
    """The server answers and refuses the connection: the password, the role, the database, or their rights.

    It lasts until that is corrected. A worker goes on trying all the same: it may be, and a server that has no
    connection left answers in the same way.
    """

    def __init__(self, sentence: str, reason: str) -> None:
        """`reason` is the server's own, without an address."""
        super().__init__(sentence)
        self.reason = reason


class OtherSchemaError(DatabaseUnavailableError):
    """The schema does not fit this program yet. Transient: a connection of a worker waits and opens again."""

    exit_code = 4


class SchemaError(PgembeddError):
    """The pgembedd schema is missing, older or newer than this code."""

    exit_code = 4


class ForeignSchemaError(SchemaError):
    """A schema of ours, or what is in it, belongs to a role that is not trusted: no migration changes that."""


class ModelError(PgembeddError):
    """The model's files are missing, damaged, or do not describe an encoder that we can run."""

    exit_code = 5


class ModelUnavailableError(ModelError):
    """The model's files cannot be fetched from here (no network, no such repository). Transient."""


class ModelNotConfiguredError(ModelError):
    """The settings of this process name no such model or provider; another worker's may. Permanent until corrected."""


class ModelMismatchError(ModelError):
    """A pipeline is pinned to another model fingerprint than the one loaded."""


class ProviderRefusedError(ModelError):
    """A provider of embeddings refuses every request: a wrong key, an exhausted quota. Permanent until corrected."""


class UnknownTokenError(PgembeddError):
    """A token id that no text gives in the model's vocabulary: the ids were made for another model."""

    exit_code = 2


class OverloadedError(PgembeddError):
    """Too many texts wait for the model, or it is being closed. Transient: the caller retries later."""


class ProviderBusyError(OverloadedError):
    """A provider of embeddings limits the rate of requests, or cannot be reached. Transient."""

    def __init__(self, sentence: str, retry_after_s: float) -> None:
        """`retry_after_s` is the delay that the provider asks for, else a short one."""
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class SearchError(PgembeddError):
    """A search that was refused or failed in the database: one sentence, and a hint where Postgres gave one."""

    def __init__(
        self, sentence: str, hint: str | None = None, sqlstate: str | None = None, *, refused: bool = False
    ) -> None:
        """`sqlstate` is Postgres's code, None for a lost connection and for arguments that never reached Postgres.

        `refused` says that it is a refusal of pgembedd's own, in SQL (`is_refused_call`) or before.
        """
        super().__init__(f"{sentence} {hint}" if hint else sentence)
        self.sentence, self.hint, self.sqlstate, self._refused = sentence, hint, sqlstate, refused
        if self.is_refusal:
            self.exit_code = ConfigurationError.exit_code

    @property
    def is_refusal(self) -> bool:
        """True where the call is at fault: its arguments, names or rights, or the state of what it names."""
        return self._refused or self.sqlstate == "42501"


class GenerationError(PgembeddError):
    """A language model's server refused a request, or broke off its answer. Permanent for this request."""

    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        """`status` is the server's own, where it answered with one."""
        super().__init__(sentence)
        self.status = status


class GenerationUnavailableError(GenerationError):
    """The server cannot be reached, is loading its model, or has too much to do. Transient."""

    def __init__(self, sentence: str, *, status: int | None = None, retry_after_s: int | None = None) -> None:
        """`retry_after_s` is the delay that the server asks for."""
        super().__init__(sentence, status=status)
        self.retry_after_s = retry_after_s


class GenerationTimeoutError(GenerationError):
    """The server sent nothing for too long, or its answer took too long as a whole."""


class GenerationCancelledError(GenerationError):
    """The caller closed the generation, or its session, before it was complete."""


class ContextTooLongError(GenerationError):
    """The prompt has more tokens than the language model reads."""

    def __init__(self, sentence: str, *, status: int | None, prompt_tokens: int, context_tokens: int) -> None:
        """Both numbers are the server's."""
        super().__init__(sentence, status=status)
        self.prompt_tokens, self.context_tokens = prompt_tokens, context_tokens


class WrongVectorsError(PgembeddError):
    """`pgembedd verify` found wrong vectors and was not asked to queue their rows."""

    exit_code = 6


class WorseSearchError(PgembeddError):
    """`pgembedd eval` measured less than its baseline."""

    exit_code = 7


class RowFailure(Exception):  # noqa: N818  named after its decision: this row failed an attempt
    """Processing a row failed for a reason in the row or in the user's own code; counts as an attempt."""

    def __init__(self, reason: str, detail: str, *, permanent: bool = False, slow: bool = False) -> None:
        """`reason` is one of a few words for metrics and filters; `detail` may hold content, so it is never logged.

        `slow` says that the user's own code did not end in time.
        """
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.permanent = permanent
        self.slow = slow


class Deferred(Exception):  # noqa: N818
    """The jobs are released without an attempt: locked rows, a stopped pipeline, a missing model."""

    def __init__(self, why: str, delay_s: float, *, locked: bool = False) -> None:
        """`delay_s` are the seconds until the jobs can be claimed again; `locked`: a lock was waited for in vain."""
        super().__init__(why)
        self.why = why
        self.delay_s = delay_s
        self.locked = locked
