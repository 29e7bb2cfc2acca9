"""Reads the settings, once: the environment over a TOML file over the defaults."""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, cast

import msgspec
from msgspec import Struct
from msgspec.inspect import (
    BoolType,
    Field,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from gift_ledger.settings import Settings, SettingsError

PREFIX: Final = "GIFT_LEDGER_"
CONFIG: Final = "GIFT_LEDGER_CONFIG"
FILE_NAME: Final = "gift-ledger.toml"
DEFAULT: Final = "default"

_FROM_FILE: Final = "_FILE"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_UNREADABLE: Final = (OSError, ValueError, RuntimeError)
"""What comes of a file that cannot be read: also one that is not UTF-8 or not TOML, has numbers of thousands of digits,
is nested too deeply, or lies in the home of a user who does not exist."""
_FILE_BYTES_MAX: Final = 64 * 1024
"""Of a file with settings, or with one: all there are take a tenth of it, however long their addresses."""
_QUOTED_CHARACTERS_MAX: Final = 200
"""Of a value in a message: one line has to do for it."""


class Setting(Struct, frozen=True, kw_only=True):
    """One setting as it is shown. ``expected`` says in words which values it takes."""

    name: str
    group: str
    description: str
    expected: str
    default: str
    secret: bool

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.upper()


class Loaded(Struct, frozen=True, kw_only=True):
    """The settings, and for each where it comes from: ``default``, the name of a file, or an environment variable."""

    settings: Settings
    origins: dict[str, str]

    def shown(self, setting: Setting) -> str:
        """The value as it may be printed."""
        value = getattr(self.settings, setting.name)
        return mask(value) if setting.secret and value is not None else spelled(value)


def load(environ: Mapping[str, str], folder: Path) -> Loaded:
    """Read all settings.

    An environment variable that is empty counts as unset. A secret setting can also be given as the path of a file that
    holds it, e.g. ``GIFT_LEDGER_REDIS_URL_FILE``.

    Args:
        environ: The environment.
        folder: Where ``gift-ledger.toml`` is looked for.

    Raises:
        SettingsError: with one line for each thing that is wrong.
    """
    problems: list[str] = []
    values: dict[str, object] = {}
    origins = dict.fromkeys(SETTINGS, DEFAULT)
    for name, (value, origin) in (_from_toml(environ, folder, problems) | _from_environ(environ, problems)).items():
        try:
            values[name] = _converted(name, value, text=origin.startswith(PREFIX))
        except ValueError:
            got = "" if SETTINGS[name].secret else f", got {_quoted(value)}"
            problems.append(f"{origin if origin.startswith(PREFIX) else f'{name} in {origin}'}: "
                            f"expected {SETTINGS[name].expected}{got}.")  # fmt: skip
        origins[name] = origin
    if not problems:
        settings = msgspec.convert(values, Settings)
        problems = settings.contradictions()
        if not problems:
            return Loaded(settings=settings, origins=origins)
    raise SettingsError("\n".join(problems))


def mask(value: object) -> str:
    """What may be shown of a secret: of an address no user, password, query, nor a web address's path; else nothing."""
    scheme, slashes, rest = str(value).partition("//")
    if not scheme.endswith(":") or not slashes:
        return "***"
    _, at, place = rest.rpartition("@")
    text = f"{scheme}//***@{place}" if at else f"{scheme}{slashes}{rest}"
    text = re.sub(r"\?.*", "?***", text)
    return re.sub(r"^(https?://[^/?]+)/[^?].*", r"\1/***", text)


def spelled(value: object) -> str:
    """A value as it is written in the environment; an unset one as an empty text."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)


def _from_toml(environ: Mapping[str, str], folder: Path, problems: list[str]) -> dict[str, tuple[object, str]]:
    named = environ.get(CONFIG)
    path = Path(named) if named else folder / FILE_NAME
    if not named and not path.exists():
        return {}
    try:
        path = path.expanduser()
        found = tomllib.loads(_text(path))
    except _UNREADABLE as error:
        problems.append(f"{f'{CONFIG}: ' if named else ''}{path} cannot be read as TOML: {error}.")
        return {}
    unknown = [key for key in found if key not in SETTINGS]
    problems += [f"{path.name}: {_unknown(key, list(SETTINGS))}" for key in unknown]
    return {key: (value, path.name) for key, value in found.items() if key in SETTINGS}


def _from_environ(environ: Mapping[str, str], problems: list[str]) -> dict[str, tuple[object, str]]:
    by_variable = {setting.variable: setting for setting in SETTINGS.values()}
    by_file = {variable + _FROM_FILE: setting for variable, setting in by_variable.items() if setting.secret}
    found: dict[str, tuple[object, str]] = {}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == CONFIG or not value:
            continue
        if (setting := by_variable.get(variable)) is not None:
            found[setting.name] = (value, variable)
        elif (setting := by_file.get(variable)) is None:
            problems.append(_unknown(variable, [*by_variable, *by_file, CONFIG]))
        elif setting.name in found:
            problems.append(f"{setting.variable} and {variable} are both set: unset one of them.")
        else:
            try:
                found[setting.name] = (_text(Path(value).expanduser()).strip(), variable)
            except _UNREADABLE as error:
                problems.append(f"{variable}: {value} cannot be read: {error}.")
    return found


def _text(path: Path) -> str:
    """What stands in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too long, or not UTF-8.
    """
    with path.open("rb") as file:
        found = file.read(_FILE_BYTES_MAX + 1)
    if len(found) > _FILE_BYTES_MAX:
        raise ValueError(f"it is longer than {_FILE_BYTES_MAX} bytes")
    return found.decode()


def _quoted(value: object) -> str:
    """A value as it is told of in a message."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= _QUOTED_CHARACTERS_MAX else f"{text[:_QUOTED_CHARACTERS_MAX]}…"


def _unknown(name: str, known: list[str]) -> str:
    # the prefix, which all have in common, would make everything look alike
    by_rest = {one.removeprefix(PREFIX): one for one in known}
    nearest = get_close_matches(name.removeprefix(PREFIX), by_rest, n=1)
    meant = f" Did you mean {by_rest[nearest[0]]}?" if nearest else ""
    return f"There is no setting {name}.{meant} `gift-ledger settings --markdown` lists them all."


def _converted(name: str, value: object, *, text: bool) -> object:
    """The value as the setting's type.

    Raises:
        ValueError: it is none of the values that the setting takes.
    """
    field = _FIELDS[name]
    if text and isinstance(_bare(field.type), BoolType):
        lowered = str(value).lower()
        if lowered not in _TRUE | _FALSE:
            raise ValueError
        value = lowered in _TRUE
    return getattr(msgspec.convert({name: value}, Settings, strict=not text), name)


def _bare(kind: Type) -> Type:
    """A type without what is noted on it, and without ``None``."""
    match kind:
        case Metadata(type=inner):
            return _bare(inner)
        case UnionType(types=(first, NoneType())):
            return _bare(first)
        case _:
            return kind


def _form(kind: Type) -> str:
    """What the pattern of a text asks for, in words; empty if it has none."""
    match kind:
        case Metadata(extra={"form": str(form)}):
            return form
        case Metadata(type=inner) | UnionType(types=(inner, NoneType())):
            return _form(inner)
        case _:
            return ""


def _expected(field: Field) -> str:
    match _bare(field.type):
        case LiteralType(values=values):
            return f"one of {', '.join(str(value) for value in values)}"
        case IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case FloatType(ge=float(low), le=float(high)):
            return f"a number from {low:g} to {high:g}"
        case BoolType():
            return "true or false"
        case StrType(min_length=least):
            return _form(field.type) or ("a text that is not empty" if least else "a text")
        case _:
            raise TypeError(f"{field.name}: no words for the values that it takes")


def _described(field: Field) -> Setting:
    match field.type:
        case Metadata(extra_json_schema={"description": description}, extra={"group": group, "secret": secret}):
            return Setting(
                name=field.name,
                group=group,
                description=description,
                expected=_expected(field),
                default=spelled(field.default),
                secret=secret,
            )
        case _:
            raise TypeError(f"{field.name}: a setting is made with Annotated[…, about(…)]")


_FIELDS: Final = {field.name: field for field in cast("StructType", type_info(Settings)).fields}
SETTINGS: Final = {name: _described(field) for name, field in _FIELDS.items()}
"""Every setting by its name, in the order of its definition."""
