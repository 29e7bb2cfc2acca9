"""Every limit has a name, a reason, a place in the registry and on its page; none is a bare number in the code."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.actor_metrics import FIGURES
from gateway.metrics import Metrics
from gift_ledger.bounds import BOUNDS
from gift_ledger.bounds.growing import GROWING
from gift_ledger.bounds.page import page
from gift_ledger.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
ALL = [bound for bounds in BOUNDS.values() for bound in bounds]
IDS = [bound.where for bound in ALL]

ROOMS = ("actors", "gateway", "persistence", "gift_ledger")
TOOLS = "gift_ledger/bench/"
"""Puts load on a service, and is no part of one."""
LIMIT = re.compile(
    r"(^|_)(MAX|MIN|SECONDS|MS|DAYS|BYTES|CHARACTERS|WINDOW|BACKLOG|AT_ONCE|IN_A_ROW|SHARE|GROUP|EVERY|PAGE)(_|$)"
)
"""What the name of a limit holds."""
NO_LIMITS = {
    "actors.frames._LENGTH_BYTES": "the format",
    "gateway.access.KEY_DIGEST_BYTES": "the format",
    "gateway.guesses.NAME_BYTES": "the format",
    "gateway.inputs.VERSION_MAX": "the largest number that a version can be",
    "gateway.kafka_consumer._NEVER_MS": "for ever",
    "gateway.reads.AFTER_MAX": "the largest number that a version can be",
    "gift_ledger.cli.entity._FOREVER_MS": "for ever",
    "gift_ledger.cli.servers.SKEW_FAIL_MS": "what a diagnosis is made by",
    "gift_ledger.cli.servers.SKEW_WARN_MS": "what a diagnosis is made by",
    "gift_ledger.embedded.folder.TOKEN_BYTES": "the length of a secret",
    "persistence.acts._DIGITS_MAX": "the format",
    "persistence.codec.LINK_BYTES": "the format",
    "persistence.codes._MEMBER_BYTES": "the format",
    "persistence.codes._SET_BYTES": "the format",
    "persistence.keys._KEY_BYTES": "the length of a secret",
    "persistence.redis_rehearsal._MINUTE_MS": "a unit",
    "persistence.replication.MARK_BYTES": "the format",
    "persistence.secrets_file.KEY_BYTES": "the format",
    "persistence.secrets_file.KEY_IDS_MAX": "the format",
    "persistence.vault.NONCE_BYTES": "the format",
}
WAITS = {"timeout", "wait_for", "sleep"}
"""Calls whose number is a bound."""
BOUNDING = re.compile(r"^(timeout|maxsize|maxlen|limit|high|low|backlog|max_\w+|\w+_(max|min|seconds|ms))$")
"""Named arguments whose number is a bound, but for the length of what a pattern describes."""
NATURAL = {0, 1}
"""No bound that could be another: nothing, once, one of them."""
GROWS = {"deque", "OrderedDict", "Queue", "defaultdict", "set", "list", "dict"}
PROVING = {
    "gateway.expected",
    "gateway.reconciliation",
    "gateway.republishing",
    "persistence.division",
    "persistence.memory",
    "persistence.memory_acts",
    "persistence.memory_windows",
    "persistence.replay",
    "persistence.verification",
}
"""Log, windows and acts in memory, for tests; and what commands hold that read a whole log, until they end."""


def sources(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(TOOLS):
                yield name.removesuffix(".py").replace("/", "."), ast.parse(path.read_text())


def constants(module: str, tree: ast.Module) -> Iterator[str]:
    """Names that numbers have in a module, and in the settings that it may hold."""
    bodies = {module: tree.body}
    if module.endswith(".settings") and module != "gift_ledger.settings":
        bodies |= {f"{module}.{node.name}": node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    for owner, body in bodies.items():
        for node in body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and is_number(node.value):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                if isinstance(target, ast.Name):
                    yield f"{owner}.{target.id}"


def is_number(node: ast.expr | None) -> bool:
    """Whether this is a number, written down or worked out of others; a unit may be among them."""
    if isinstance(node, ast.BinOp):
        return is_number(node.left) and is_number(node.right)
    if isinstance(node, ast.Name):
        return node.id in {"SECOND_MS", "HOUR_MS", "DAY_MS"}
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def bare(node: ast.expr | None) -> bool:
    return is_number(node) and not (isinstance(node, ast.Constant) and node.value in NATURAL)


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def bare_numbers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            waits = node.args[-1:] if called(node) in WAITS else []
            written = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            named = [value for name, value in written.items() if BOUNDING.match(name) and "pattern" not in written]
            if any(bare(number) for number in (*waits, *named)):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            defaults = [*zip(reversed(arguments.args), reversed(arguments.defaults), strict=False)]
            defaults += [
                (one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
            ]
            for argument, value in defaults:
                if BOUNDING.match(argument.arg) and bare(value):
                    yield f"line {node.lineno}: {node.name}({argument.arg}={ast.unparse(value)})"


def growing(module: str, tree: ast.Module) -> Iterator[str]:
    """Attributes that hold as many things as come."""
    for owner in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]:
        for node in ast.walk(owner):
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target, value = node.target if isinstance(node, ast.AnnAssign) else node.targets[0], node.value
            if not isinstance(target, ast.Attribute):
                continue
            empty = (isinstance(value, ast.Dict) and not value.keys) or (isinstance(value, ast.List) and not value.elts)
            if empty or (isinstance(value, ast.Call) and called(value) in GROWS and not value.args):
                yield f"{module}.{owner.name}.{target.attr}"


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "bounds.md").read_text() == page(), "python -m gift_ledger.bounds > docs/bounds.md"


@pytest.mark.parametrize("bound", ALL, ids=IDS)
def test_each_bound_has_a_value_a_unit_a_reason_and_an_end(bound: object) -> None:
    (found,) = [one for one in ALL if one is bound]

    assert found.value > 0
    assert found.measured_in
    assert found.why, f"say beneath {found.where} why it is so"
    assert found.reached


def test_no_bound_stands_twice() -> None:
    assert [where for where, times in Counter(IDS).items() if times > 1] == []


def test_each_metric_exists() -> None:
    known = {f"{figure.name}_total" if figure.counts else figure.name for figure in FIGURES} | {"gift_ledger_actor_up"}
    known |= {f"{family.name}_total" if family.type == "counter" else family.name for family in Metrics().collect()}

    assert {name for bound in ALL for name in bound.shown.split()} <= known


def test_each_setting_exists_and_has_the_same_default() -> None:
    settings = Settings()

    for bound in ALL:
        if bound.setting:
            assert getattr(settings, bound.setting) == bound.value, bound.where


def test_each_limit_in_the_code_is_registered() -> None:
    found = {
        name
        for module, tree in sources(*ROOMS)
        for name in constants(module, tree)
        if LIMIT.search(name.rpartition(".")[2].upper())
    }

    assert found - set(IDS) - set(NO_LIMITS) == set()
    assert set(NO_LIMITS) <= found, "no longer there"


def test_no_limit_is_a_bare_number() -> None:
    found = [f"{module}, {where}" for module, tree in sources(*ROOMS) for where in bare_numbers(tree)]

    assert found == []


def test_whatever_grows_is_bounded() -> None:
    found = {
        name
        for module, tree in sources("actors", "gateway", "persistence")
        if module not in PROVING
        for name in growing(module, tree)
    }

    assert found == set(GROWING)


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("await asyncio.sleep(5)", True),
        ("await asyncio.sleep(PAUSE_SECONDS)", False),
        ("await asyncio.sleep(0)", False),
        ("async with asyncio.timeout(2 * 60): pass", True),
        ("queue = asyncio.Queue(maxsize=100)", True),
        ("connect(url, connections_max=8)", True),
        ("connect(url, connections_max=CONNECTIONS_MAX)", False),
        ("def start(seconds_max: float = 60.0): pass", True),
        ("def start(*, seconds_max: float = START_SECONDS_MAX): pass", False),
    ],
)
def test_bare_numbers_are_seen(code: str, wrong: bool) -> None:  # noqa: FBT001
    assert bool(list(bare_numbers(ast.parse(f"async def work():\n    {code}")))) is wrong


def test_what_grows_is_seen() -> None:
    body = ("self._a: deque[int] = deque()", "self._b = {}", "self._c = 3")
    code = "class Desk:\n    def __init__(self):\n        " + "\n        ".join(body)

    assert set(growing("shop", ast.parse(code))) == {"shop.Desk._a", "shop.Desk._b"}
