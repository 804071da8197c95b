"""A file that cannot be fetched."""

from pgembedd.errors import PgembeddError


class FetchError(PgembeddError):
    """A file that is not fetched: one sentence that says why, without what the URI holds beside its host.

    One that is `permanent` lasts until something is changed; another may be there at the next attempt.
    """

    def __init__(self, sentence: str, *, permanent: bool = True) -> None:
        """A refusal, unless it is said to be not permanent."""
        super().__init__(sentence)
        self.permanent = permanent
