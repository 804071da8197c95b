"""Fields of pydantic's models with their bounds, over HTTP and for tools: names, filters, the options of a search."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from pgembedd.search.options import Option, options_of
from pgembedd.settings import limits

Name = Annotated[str, Field(max_length=limits.NAME)]
Filter = Annotated[dict[str, Any], Field(max_length=limits.CONDITIONS)]


def option_fields(
    kind: type,
    *,
    most: Mapping[str, float] = MappingProxyType({}),
    without: Collection[str] = ("embedding",),
    for_assistants: bool = False,
) -> dict[str, Any]:
    """Returns the fields of options, for create_model(); `most` lowers the bounds of some.

    An assistant is told the words that there are, and may send null for all; of other clients SQL refuses what is none.
    """
    fields: dict[str, Any] = {}
    for name, (declared, option) in options_of(kind).items():
        if name in without:  # the process makes a vector
            continue
        allowed = _type(declared, option, most.get(name, option.most), is_closed=for_assistants)
        if for_assistants or option.default is None:
            allowed |= None
        fields[name] = (allowed, Field(default=option.default, description=option.help))
    return fields


def _type(declared: Any, option: Option, most: float | None, *, is_closed: bool) -> Any:
    if declared == Mapping[str, Any]:
        return Filter
    if declared is UUID:
        return Annotated[UUID, Field(strict=False)]  # JSON has it as a text
    if declared == Sequence[str]:
        return Annotated[list[Annotated[str, Field(max_length=option.most)]], Field(max_length=option.members)]
    if declared in (int, float):
        return Annotated[declared, Field(ge=option.least, le=most)]
    return Literal[option.choices] if is_closed and option.choices else Name
