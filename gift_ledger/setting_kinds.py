"""What values a setting can have."""

from typing import Annotated, Any

from msgspec import Meta

from ledger.codes import PREFIXES_PATTERN


def about(group: str, description: str, *, secret: bool = False, **bounds: Any) -> Meta:  # noqa: ANN401 - msgspec's own
    """Describe a setting; ``bounds`` are those of :class:`msgspec.Meta`. A secret one is never printed."""
    return Meta(description=description, extra={"group": group, "secret": secret}, **bounds)


def _matching(pattern: str, form: str) -> Meta:
    """A text of a form; ``form`` says it in words."""
    return Meta(pattern=pattern, extra={"form": form})


Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(ge=0.001, le=86_400.0)]
Days = Annotated[float, Meta(ge=0.0001, le=36_500.0)]
Hours = Annotated[float, Meta(ge=0.0001, le=87_600.0)]
Topic = Annotated[str, _matching(r"^[A-Za-z0-9._-]{1,249}$", "1 to 249 characters of A-Z a-z 0-9 . _ -")]
Prefix = Annotated[str, _matching(r"^[A-Za-z0-9._-]{1,32}$", "1 to 32 characters of A-Z a-z 0-9 . _ -")]
RedisUrl = Annotated[str, _matching(r"^(rediss?|unix)://.", "an address such as redis://HOST:6379/0")]
WebUrl = Annotated[str, _matching(r"^https?://[^/]", "an address such as https://HOST/PATH")]
Words = Annotated[str, _matching(r"^[A-Za-z0-9]+(,[A-Za-z0-9]+)*$", "names with commas between them")]
Brokers = Annotated[
    str, _matching(r"^[^\s:,]+:[0-9]{1,5}(,[^\s:,]+:[0-9]{1,5})*$", "HOST:PORT, or several with commas between them")
]
Prefixes = Annotated[str, _matching(PREFIXES_PATTERN, "1 to 12 characters of A-Z 0-9, or several with commas")]
RayAddress = Annotated[str, _matching(r"^([^\s:,/]+:[0-9]{1,5})?$", "HOST:PORT, or nothing")]
