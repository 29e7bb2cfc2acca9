"""Reading the body of a bulk call: all items at once if they are in order, else one by one."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Raw

from gateway.bodies import BodyDecoder
from gateway.bulk_requests import ITEMS
from gateway.faults import ProblemError, invalid
from gateway.requests import Body
from persistence.errors import UNDECODABLE

T = TypeVar("T", bound=Body)


class _Split(Body, frozen=True):
    """The items, not looked into."""

    items: Annotated[list[Raw], ITEMS]


class _Shown(Body, frozen=True):
    """The items, whatever they are: by it is told what is wrong with what holds them."""

    items: Annotated[list[Any], ITEMS]


_split: Final = msgspec.json.Decoder(_Split)
_shown: Final = BodyDecoder[_Shown](_Shown)


class ItemsDecoder(Generic[T]):
    """Decodes one kind of bulk body, made once. ``kind`` is a struct whose ``items`` are a list of ``item``."""

    def __init__(self, kind: type[Body], item: type[T]) -> None:
        self._whole: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._item = BodyDecoder[T](item)

    def decode(self, body: bytes) -> Sequence[T | ProblemError]:
        """The items in their order; for one that is not as it has to be, what is wrong with it.

        Raises:
            ProblemError: 400 ``InvalidRequest``: what holds the items is not as it has to be.
        """
        try:
            items: list[T] = self._whole.decode(body).items
        except UNDECODABLE:
            return self._one_by_one(body)
        return items if _names_are_unique(body) else self._one_by_one(body)

    def _one_by_one(self, body: bytes) -> list[T | ProblemError]:
        return [self._decoded(bytes(item)) for item in _parts(body)]

    def _decoded(self, item: bytes) -> T | ProblemError:
        try:
            return self._item.decode(item)
        except ProblemError as error:
            return error


def _parts(body: bytes) -> list[Raw]:
    """The texts of the items."""
    try:
        items = _split.decode(body).items
        outermost: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    except (ValueError, *UNDECODABLE):
        raise _shown.explained(body) from None
    if len(outermost) != 1:
        raise invalid("items", "stands in the body more than once")
    return items


def _names_are_unique(body: bytes) -> bool:
    """Whether no name stands twice in one object: readers of JSON differ in which of the two counts."""
    repeats: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) != len(pairs):
            repeats.append("")

    json.loads(body, object_pairs_hook=look)
    return not repeats
