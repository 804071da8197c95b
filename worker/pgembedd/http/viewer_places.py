"""The places of those who watch answers: so many for all, and a share of them for one user, and for one role."""

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal

USER_SHARE = 8  # a user has one in so many of the places


def who(caller: Caller) -> tuple[str, str | None]:
    """Returns the role, and the user of it as the database knows it: the subject of a JWT; None for other tokens."""
    return caller.search_url, None if caller.claims is None else str(caller.claims.get("sub"))


class Place:
    """A place that is taken until it is released; a context manager does that at its end."""

    def __init__(self, places: "ViewerPlaces", caller: Caller) -> None:
        self._places: ViewerPlaces | None = places
        self._caller = caller

    def release(self) -> None:
        """Gives the place back; it may be called twice."""
        if self._places is not None:
            self._places.give_back(self._caller)
            self._places = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class ViewerPlaces:
    """All places of a service, for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_user, self._of_role = max(1, most // USER_SHARE), max(1, most - most // 4)
        self._users: Counter[tuple[str, str | None]] = Counter()
        self._lock = threading.Lock()

    def take(self, caller: Caller) -> Place:
        """Takes a place for a caller. Refusal 429 where its user has its share of them, 503 where there is none."""
        user = who(caller)
        with self._lock:
            if user[1] is not None and self._users[user] >= self._of_user:
                raise Refusal(429, f"You watch {self._of_user} answers already; try again when one has ended.", "busy")
            taken = self._users.total()
            of_role = sum(one for (role, _), one in self._users.items() if role == caller.search_url)
            if taken >= self._most or of_role >= self._of_role:
                raise Refusal(503, f"{min(taken, self._most)} clients watch answers already; try again later.", "busy")
            self._users[user] += 1
        return Place(self, caller)

    def give_back(self, caller: Caller) -> None:
        """Frees a place of that caller's."""
        with self._lock:
            self._users[who(caller)] -= 1
            self._users += Counter()  # without those who have none
