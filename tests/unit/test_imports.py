"""The rooms of the house and the one direction between them, read from the source without importing it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]

# Each package, and those of ours that it may import besides itself.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "ledger": frozenset(),
    "persistence": frozenset({"ledger"}),
    "actors": frozenset({"ledger", "persistence"}),
    "gateway": frozenset({"ledger", "persistence", "actors"}),
    "gift_ledger": frozenset({"ledger", "persistence", "actors", "gateway", "examples"}),
    "examples": frozenset(),
    "deploy": frozenset({"persistence"}),
    "benchmarks": frozenset({"ledger", "persistence", "actors", "gateway", "gift_ledger", "examples"}),
}

# The domain is a pure function of what it is given: of the outside it may know these, and nothing else.
LEDGER_MAY_IMPORT = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "immutables",
        "itertools",
        "math",
        "msgspec",
        "operator",
        "re",
        "struct",
        "types",
        "typing",
    }
)
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
LINES_MAX = 400
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})


def modules(package: str) -> list[Path]:
    """Return the source files of one of our packages."""
    return sorted((ROOT / package).rglob("*.py"))


def everything() -> list[Path]:
    """Return the source files of all our packages and of the tests."""
    return [path for package in (*MAY_IMPORT, "tests") for path in modules(package)]


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the top-level name of each import, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name.split(".")[0]) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module.split(".")[0]


def wrong_imports(package: str, source: str) -> list[tuple[int, str]]:
    """Return the imports of our own packages that `package` may not make."""
    ours = {*MAY_IMPORT, "tests"} - MAY_IMPORT[package] - {package}
    return [(line, name) for line, name in imported(source) if name in ours]


def impurities(source: str) -> list[tuple[int, str]]:
    """Return what makes a module of the domain more than a function of what it is given."""
    found = [(line, f"imports {name}") for line, name in imported(source) if name not in LEDGER_MAY_IMPORT | {"ledger"}]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr=attribute)) if attribute in CLOCK_CALLS:
                found.append((node.lineno, f"calls {attribute}()"))
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                found.append((node.lineno, f"calls {name}()"))
            case ast.Await() | ast.AsyncFunctionDef() | ast.AsyncWith() | ast.AsyncFor():
                found.append((node.lineno, "waits"))
            case ast.Constant(value=float(value)):
                found.append((node.lineno, f"has the float {value}"))
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_stands_before_it(package: str) -> None:
    assert modules(package), f"no source under {package}"

    wrong = {
        str(path.relative_to(ROOT)): found
        for path in modules(package)
        if (found := wrong_imports(package, path.read_text()))
    }

    assert wrong == {}


def test_the_domain_is_pure() -> None:
    impure = {
        str(path.relative_to(ROOT)): found for path in modules("ledger") if (found := impurities(path.read_text()))
    }

    assert impure == {}


def test_no_module_is_two_things() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in everything()}

    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}


def test_every_module_is_named_for_what_it_holds() -> None:
    assert [path for path in everything() if path.stem in VAGUE_NAMES] == []


@pytest.mark.parametrize(
    ("package", "source", "found"),
    [
        ("ledger", "import gateway.app", [(1, "gateway")]),
        ("persistence", "def load():\n    from actors.shard import Shard", [(2, "actors")]),
        ("actors", "import persistence, ledger.command\nfrom actors import channel", []),
        ("examples", "from gift_ledger import cli", [(1, "gift_ledger")]),
        ("gateway", "from tests.real import redis", [(1, "tests")]),
    ],
)
def test_an_import_against_the_direction_is_seen(package: str, source: str, found: list[tuple[int, str]]) -> None:
    assert wrong_imports(package, source) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", "imports time"),
        ("from asyncio import Queue", "imports asyncio"),
        ("import secrets", "imports secrets"),
        ("import redis.asyncio", "imports redis"),
        ("at = datetime.now(UTC)", "calls now()"),
        ("at = datetime.datetime.utcnow()", "calls utcnow()"),
        ("async def decide(): ...", "waits"),
        ("open('log')", "calls open()"),
        ("fee = amount * 0.5", "has the float 0.5"),
    ],
)
def test_an_impurity_is_seen(source: str, found: str) -> None:
    assert [what for _, what in impurities(source)] == [found]
