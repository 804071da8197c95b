"""The input of a request to /v1/embeddings: its types, and the texts that it holds."""

from typing import Annotated, cast

from pydantic import FailFast
from typing_extensions import TypeAliasType

from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.routes.bodies import one_error
from pgembedd.http.routes.embed import Texts
from pgembedd.model.futures import Text
from pgembedd.settings import HttpSettings

CLIENTS = "In LangChain set check_embedding_ctx_length=False."

# Fails at the first that does not fit, as in /embed.
Ids = TypeAliasType("Ids", Annotated[list[int], FailFast()])
ListsOfIds = TypeAliasType("ListsOfIds", Annotated[list[Ids], FailFast()])
Input = Annotated[
    str | Texts | Ids | ListsOfIds,
    one_error("it must be a string, a list of strings, a list of token ids, or a list of lists of token ids"),
]


def texts_of(given: Input, http: HttpSettings) -> list[Text]:
    """Returns the input as texts and token ids. Refusal for an empty one, and for token ids that are not allowed.

    Clients send the ids of OpenAI's vocabulary, not all of which can be told from the model's own; the vector would be
    that of other words.
    """
    if isinstance(given, str):
        texts: list[Text] = [given]
    elif given and isinstance(given[0], int):
        texts = [tuple(given)]
    else:
        texts = [each if isinstance(each, str) else tuple(each) for each in cast(list[str | list[int]], given)]
    if not texts or not all(texts):
        sentence = "The input is empty: send at least one text, none of them empty."
        raise Refusal(400, sentence, "empty_input", param="input")
    if http.http_token_ids == "refuse" and not all(isinstance(text, str) for text in texts):
        sentence = f"Token ids are not taken here: send texts. {CLIENTS} PGEMBEDD_HTTP_TOKEN_IDS=own allows them."
        raise Refusal(400, sentence, "token_ids_refused", param="input")
    return texts
