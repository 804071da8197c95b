"""The steps of writers: single rows, many rows, keys, and transactions that stay open."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.sql.stateful.base import Base
from tests.sql.stateful.expected import Expected, Key, Row

SLUGS = ["a", "it's", 'ü "q" {1}']
BULK, BULK_TENANT = 1001, 100  # a statement of so many rows goes to the backfill lane

KEYS = st.tuples(st.integers(0, 2), st.sampled_from(SLUGS))
# Few different texts, so that a row gets back to what it was, and rows are alike.
TEXTS = st.one_of(
    st.lists(st.sampled_from(["alpha", "beta b", "gamma"]), min_size=1, max_size=3).map("\n\n".join),
    st.sampled_from([None, "", " ", "\n\n", "\u00a0 \n"]),
)
ROWS = st.builds(Row, title=TEXTS, content=TEXTS)
NUMBERS = st.lists(st.integers(0, 20), min_size=1, max_size=3)
WHEN = st.sampled_from(["now", "now", "now", "late", "repeatable"])
NOW_AND_THEN = st.integers(0, 9).map(lambda number: number == 7)

THESE = "(tenant, slug) in (select * from unnest(%(tenants)s::int[], %(slugs)s::text[]))"
INSERT = (
    "insert into {} (tenant, slug, title, content)"
    " select t, s, %(title)s, %(content)s from unnest(%(tenants)s::int[], %(slugs)s::text[]) as k(t, s)"
)

UPSERT = " on conflict (tenant, slug) do update set title = excluded.title, content = excluded.content"
BYSTANDERS = [
    f"update documents set other = coalesce(other, 0) + 1 where {THESE}",
    f"update documents set title = title, content = content where {THESE}",
    f"select from documents where {THESE} for update",
]


def nothing(expected: Expected) -> None:
    """Of what is embedded."""


class Writers(Base):
    """Every rule is a statement, done now or in a transaction that stays open."""

    def session(self, when: str) -> bool:
        """Chooses between autocommit and the open transaction, which it opens if there is none."""
        if when != "now" and self.late is None:
            self.open(repeatable=when == "repeatable")
        return when != "now"

    @rule(commit=st.sampled_from([True, True, False]))
    @precondition(lambda self: self.late is not None)
    def end_the_transaction(self, commit: bool) -> None:
        self.end(commit)

    @rule(keys=st.sets(KEYS, min_size=1, max_size=3), row=ROWS, when=WHEN, leaf=st.booleans(), upsert=st.booleans())
    def insert(self, keys: set[Key], row: Row, when: str, leaf: bool, upsert: bool) -> None:
        late = self.session(when)
        upsert = upsert and not self.shape.deferrable
        ours = sorted(key for key in keys if key not in self.held(late) and (upsert or self.free(key, late)))
        table = "documents"
        if leaf and self.shape.layout == "partitioned":  # straight into a partition
            ours = [key for key in ours if key[0] == 0]
            table = "documents_0"
        statement = INSERT.format(table) + (UPSERT if upsert else "")
        if ours:
            self.write(statement, vars(row), ours, lambda e: e.put(ours, row), late)

    @rule(numbers=NUMBERS, column=st.sampled_from(["title", "content", "both"]), text=TEXTS, when=WHEN)
    @precondition(lambda self: self.expected.rows)
    def update(self, numbers: list[int], column: str, text: str | None, when: str) -> None:
        late = self.session(when)
        keys = self.some(numbers, late)
        columns = ["title", "content"] if column == "both" else [column]
        statement = f"update documents set {', '.join(f'{one} = %(text)s' for one in columns)} where {THESE}"

        def effect(expected: Expected) -> None:
            expected.change({key: (key, expected.rows[key].set(column, text)) for key in keys})

        if keys:
            self.write(statement, {"text": text}, keys, effect, late)

    @rule(numbers=NUMBERS, statement=st.sampled_from([None, "[9,9,9]", *BYSTANDERS]), when=WHEN)
    @precondition(lambda self: self.expected.rows)
    def touch(self, numbers: list[int], statement: str | None, when: str) -> None:
        """Nothing that is embedded; or what was made of it, which is mended."""
        if statement not in BYSTANDERS:
            if not self.shape.chunked:
                self.tamper(numbers, statement)
            return
        late = self.session(when)
        if keys := self.some(numbers, late):
            self.write(statement, {}, keys, nothing, late)

    def tamper(self, numbers: list[int], vector: str | None) -> None:
        """With a vector in a column."""
        keys = self.some(numbers, late=False)

        def effect(expected: Expected) -> None:
            expected.tampered |= {key: (9.0, 9.0, 9.0) for key in keys if vector}

        if keys:
            statement = f"update documents set embedding = %(vector)s::text::halfvec where {THESE}"
            self.write(statement, {"vector": vector}, keys, effect, late=False)

    @rule(numbers=NUMBERS, when=WHEN)
    @precondition(lambda self: self.expected.rows)
    def delete(self, numbers: list[int], when: str) -> None:
        late = self.session(when)
        if keys := self.some(numbers, late):
            self.write(f"delete from documents where {THESE}", {}, keys, lambda e: e.drop(keys), late)

    @rule(number=st.integers(0, 20), to=KEYS, row=st.one_of(st.none(), ROWS), when=WHEN)
    @precondition(lambda self: self.expected.rows)
    def move(self, number: int, to: Key, row: Row | None, when: str) -> None:
        """Another key, and with it other contents, too, or not."""
        late = self.session(when)
        keys = self.some([number], late)
        if not keys or not self.free(to, late):
            return
        statement = "update documents set tenant = %(tenant)s, slug = %(slug)s"
        statement += "" if row is None else ", title = %(title)s, content = %(content)s"
        values = {"tenant": to[0], "slug": to[1], **({} if row is None else vars(row))}

        def effect(expected: Expected) -> None:
            expected.change({keys[0]: (to, row or expected.rows[keys[0]])})

        self.write(f"{statement} where {THESE}", values, [keys[0]], effect, late)
        if late and self.late:
            self.late.keys.add(to)

    @rule(by=st.sampled_from([1, 2]), contents=st.sampled_from(["with", "without", "exchanged"]))
    @precondition(lambda self: self.shape.deferrable and self.expected.rows and self.late is None)
    def shift(self, by: int, contents: str) -> None:
        """All keys go round, so that one row takes the place of another, and maybe its contents, too."""
        statement = f"update documents d set tenant = (d.tenant + {by}) %% 3"
        if contents == "exchanged":  # wherever there was a row before, its key keeps its contents
            statement += ", (title, content) = (select coalesce(max(o.title), 'moved'), max(o.content) from documents o"
            statement += f" where o.tenant = (d.tenant + {by}) %% 3 and o.slug = d.slug)"
        elif contents == "without":
            statement += ", content = 'alpha'"
        before = dict(self.expected.rows)
        moves: dict[Key, tuple[Key, Row]] = {}
        for key, row in before.items():
            to = ((key[0] + by) % 3, key[1])
            if key[0] < BULK_TENANT:
                there = before.get(to, Row())
                other = Row("moved" if there.title is None else there.title, there.content)
                moves[key] = (to, {"exchanged": other, "without": Row(row.title, "alpha")}.get(contents, row))
        self.write(f"{statement} where d.tenant < {BULK_TENANT}", {}, list(moves), lambda e: e.change(moves), False)

    @rule(
        verb=st.sampled_from(["insert", "update", "move", "blank", "delete", "truncate", "leaf"]), chance=NOW_AND_THEN
    )
    @precondition(lambda self: self.late is None)
    def bulk(self, verb: str, chance: bool) -> None:
        """A statement over more than 1,000 rows, or over all of them."""
        there = [key for key in self.expected.rows if key[0] >= BULK_TENANT]
        if verb in ("truncate", "leaf"):
            self.truncate(leaf=verb == "leaf")
        elif (verb == "insert") == bool(there):
            return
        elif verb == "insert":
            if chance:
                self.bulk_insert()
        elif verb == "delete":
            statement = f"delete from documents where tenant >= {BULK_TENANT}"
            self.write(statement, {}, there, lambda e: e.drop(there), late=False)
        else:
            self.bulk_update(verb, there)

    def truncate(self, leaf: bool) -> None:
        leaf = leaf and self.shape.layout == "partitioned"
        self.user.execute("truncate documents_0" if leaf else "truncate documents")
        self.expected.drop([key for key in self.expected.rows if not leaf or key[0] == 0])

    def bulk_insert(self) -> None:
        keys = [(BULK_TENANT, str(number)) for number in range(BULK)]
        new = {key: (key, Row(None, f"text\n\n{key[1]}")) for key in keys}
        statement = (
            f"insert into documents (tenant, slug, content) select {BULK_TENANT}, i, E'text\\n\\n' || i"
            f" from generate_series(0, {BULK - 1}) i"
        )
        self.write(statement, {}, keys, lambda e: e.change(new), late=False)

    def bulk_update(self, verb: str, there: list[Key]) -> None:
        change = {"update": "content = content || '!'", "move": "tenant = tenant + 1", "blank": "content = ' '"}[verb]

        def changed(key: Key, row: Row) -> tuple[Key, Row]:
            if verb == "move":
                return (key[0] + 1, key[1]), row
            return key, Row(
                row.title, " " if verb == "blank" else f"{row.content}!" if row.content is not None else None
            )

        moves = {key: changed(key, self.expected.rows[key]) for key in there}
        statement = f"update documents set {change} where tenant >= {BULK_TENANT}"
        self.write(statement, {}, there, lambda e: e.change(moves), late=False)
