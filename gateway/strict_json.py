"""JSON in which readers cannot differ: UTF-8, no name twice, no number that JSON does not have."""

import json
from typing import Any


def json_object(text: bytes) -> dict[str, Any]:
    """What a JSON object holds.

    Raises:
        ValueError: it is none, or one that another reader might read differently. The message may tell what it holds.
    """
    try:
        found = json.loads(text.decode(), object_pairs_hook=_members, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - of the text, not of an argument
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _refuse(constant: str) -> Any:  # noqa: ANN401 - it never returns
    raise ValueError(f"{constant} is no number")
