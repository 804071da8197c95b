"""The bounds of what may enter: over HTTP and MCP, and from other servers. SQL has the same for its parameters.

`_most()` and `_most_members()` hold them for SQL, docs/reference/limits.md lists all, and a test compares the three.
What depends on the machine is a setting instead (PGEMBEDD_HTTP_MAX_…, PGEMBEDD_LANGUAGE_MAX_…).
"""

NAME = 200
"""Characters of a name: of a pipeline, a model, a reranker, a mode, an event."""
QUERY = 100_000
"""Characters of a search's query, and of a reranker's."""
QUESTION = 8_000
"""Characters of a question about a table."""
MARK = 64
"""Characters of each of the two marks around a word."""
HITS = 1_000
"""Hits of a search, and of the window that pages are cut from."""
SOURCES = 50
"""Sources of an answer."""
SNIPPET = 10_000
"""Characters of a snippet."""
RRF_K = 10_000
WEIGHT = 1e6
SIMILARITY = 3e38
"""Of a float4, which vectors are made of."""
CONDITIONS = 1_000
"""Columns and operators of a filter."""
DOCUMENTS = 1_000
"""Documents of a request for reranking."""
LISTED = 100
"""Names in a list of a request, such as the events to follow."""
ADDRESS = 65_536
"""Bytes of the line and the headers of a request together, and so of what an address may hold."""
IN_ADDRESS = 20_000
"""Characters of a text in an address or a header: longer ones go into a body."""
INT4 = 2**31 - 1
DIMENSIONS = 16_000
"""Of pgvector's vectors."""
ERROR_BYTES = 65_536
"""Read of the body of another server's error."""
KEYS_BYTES = 1_000_000
"""Of the public keys that users' tokens are signed with."""
STREAM_BYTES = 64_000_000
"""Of a language model's answer to a program, which sets no limit of its own."""


def vectors_bytes(texts: int, dims: int) -> int:
    """Returns how many bytes an answer with the vectors of so many texts may have, as JSON: 40 a number.

    `dims` is 0 while it is not known.
    """
    return 65_536 + texts * (1_024 + 40 * (dims or DIMENSIONS))
