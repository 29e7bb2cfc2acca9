"""A bound, and how its value and its reason are found where it is read."""

import ast
import importlib
import inspect
from functools import cache
from types import ModuleType

from msgspec import Struct
from msgspec.structs import fields

UNITS = (("_SECONDS", "s"), ("_MS", "ms"), ("_BYTES", "bytes"), ("_CHARACTERS", "characters"), ("_DAYS", "days"))
"""What the name of a bound says about its unit."""


class Bound(Struct, frozen=True):
    """A limit, a pause or a time-out.

    It stays where it is read, with its reason beneath it; here is only what is not said there.
    """

    where: str
    """``module.NAME``, or ``module.Class.field`` of settings."""
    reached: str
    """What happens when it is reached, and what a caller sees of it."""
    shown: str = ""
    """The metrics that tell how near it is, or how often it was reached."""
    unit: str = ""
    """If the name does not say it."""
    setting: str = ""
    """The name of the setting that changes it, if there is one."""

    @property
    def value(self) -> int | float:
        """What is in force, of a setting what is by default."""
        owner, name = self._owner()
        if isinstance(owner, ModuleType):
            found = getattr(owner, name)
        else:
            found = next(field.default for field in fields(owner) if field.name == name)
        if not isinstance(found, int | float):
            raise TypeError(f"{self.where} is {found!r}, and no number")
        return found

    @property
    def why(self) -> str:
        """Its reason: the docstring beneath it, or beneath the pair of a least and a most; empty if there is none."""
        owner, name = self._owner()
        return " ".join(_reasons(owner).get(name, "").split())

    @property
    def measured_in(self) -> str:
        """Its unit."""
        upper = self.where.upper()
        return self.unit or next((unit for end, unit in UNITS if end in upper.rpartition(".")[2]), "")

    def _owner(self) -> tuple[ModuleType | type, str]:
        path, _, name = self.where.rpartition(".")
        module, _, last = path.rpartition(".")
        if last[:1].isupper():
            owner: type = getattr(importlib.import_module(module), last)
            return owner, name
        return importlib.import_module(path), name


@cache
def _reasons(owner: ModuleType | type) -> dict[str, str]:
    """The docstrings beneath assignments."""
    tree = ast.parse(inspect.getsource(owner))
    body = (
        tree.body if isinstance(owner, ModuleType) else next(n for n in tree.body if isinstance(n, ast.ClassDef)).body
    )
    found: dict[str, str] = {}
    names: list[str] = []
    for statement in body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            names = [one for one in names if _stem(one) == _stem(name)] + [name]
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            found.update(dict.fromkeys(names, str(statement.value.value)))
            names = []
        else:
            names = []
    return found


def _stem(name: str) -> str:
    return name.upper().removesuffix("_MIN").removesuffix("_MAX")
