"""The picture of a soak: calls, memory of processes, Redis, over time, with a mark for each fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure

from tests.soak.memory import MB

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from tests.soak.run import Outcome

COLOURS: Final = {
    "gateway": "#0b6e4f",
    "shard": "#c1440e",
    "relay": "#336791",
    "inbox": "#7a4fa3",
    "SMS sender": "#8a8a8a",
    "Valkey": "#b8860b",
}
SIZE_INCHES: Final = (8.0, 7.0)
DOTS_PER_INCH: Final = 130
MINUTE_SECONDS: Final = 60


def draw(outcome: Outcome, path: Path) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    calls, memory, redis = figure.subplots(3, 1, sharex=True, height_ratios=(2, 3, 1.5))
    _calls(calls, outcome)
    for life in outcome.lives:
        if life.kind == "Valkey":
            continue
        at = [seconds / MINUTE_SECONDS for seconds, _ in life.points]
        memory.plot(at, [size / MB for _, size in life.points], color=COLOURS[life.kind], linewidth=1.3)
    for kind in [kind for kind in COLOURS if kind != "Valkey"]:
        memory.plot([], [], color=COLOURS[kind], label=kind)
    memory.set_ylim(bottom=0)
    memory.set_ylabel("resident MB of each process")
    memory.legend(frameon=False, fontsize=8, ncols=5, loc="lower center")
    redis.plot(
        [point.at / MINUTE_SECONDS for point in outcome.redis],
        [point.used / MB for point in outcome.redis],
        color=COLOURS["Valkey"],
    )
    redis.set_ylim(bottom=0)
    redis.set_ylabel("used_memory, MB")
    redis.set_xlabel("minutes")
    for axes in (calls, memory, redis):
        axes.grid(visible=True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})


def _calls(axes: Axes, outcome: Outcome) -> None:
    pairs = list(zip(outcome.pulse, outcome.pulse[1:], strict=False))
    axes.plot(
        [at / MINUTE_SECONDS for _, (at, _) in pairs],
        [(later - earlier) / (at - before) for (before, earlier), (at, later) in pairs],
        color="#0b6e4f",
        linewidth=0.9,
    )
    for struck in outcome.struck:
        axes.axvline(struck.at / MINUTE_SECONDS, color="#c1440e", linewidth=0.7, alpha=0.5)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("calls acknowledged/s")
    axes.set_title("Under load, with a fault at each red line", fontsize=10)
