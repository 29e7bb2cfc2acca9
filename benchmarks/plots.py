"""The two pictures: throughput over connections, and the distribution of latency."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.product import NAME
from benchmarks.section import Series

THROUGHPUT: Final = "throughput.png"
LATENCY: Final = "latency.png"
_COLOURS: Final = {
    NAME: "#0b6e4f",
    "redis-lua": "#c1440e",
    "postgres": "#336791",
    "noop": "#8a8a8a",
    "asgi": "#c4c4c4",
}
_SIZE_INCHES: Final = (7.2, 4.2)
_DOTS_PER_INCH: Final = 150
_SHOWN_RATES: Final = (2_000, 5_000, 10_000, 20_000, 50_000)
_SHOWN_PERCENTILES: Final = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)


def throughput(series: Sequence[Series], path: Path) -> None:
    """Authorizations a second over the number of connections."""
    figure, axes = _canvas("Authorizations a second, closed loop, the load on the same machine")
    for one in series:
        ceiling = one.system in {"noop", "asgi"}
        axes.plot(
            [x for x, _ in one.points],
            [y for _, y in one.points],
            marker="o",
            linestyle="--" if ceiling else "-",
            linewidth=2.5 if one.system == NAME else 1.6,
            color=_COLOURS.get(one.system),
            label=f"{one.system} (stores nothing)" if ceiling else one.system,
        )
    connections = sorted({x for one in series for x, _ in one.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(connections, [f"{x:g}" for x in connections])
    axes.set_yscale("log")
    axes.set_yticks(_SHOWN_RATES)
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.minorticks_off()
    axes.set_xlabel("connections")
    axes.set_ylabel("authorizations/s")
    _finish(figure, axes, path, legend=(0.68, 0.56))


def latency(series: Sequence[Series], path: Path) -> None:
    """Milliseconds over percentiles, the rare ones drawn apart."""
    figure, axes = _canvas("Latency at 1 000 authorizations a second, open loop, from the intended time, all rounds")
    for one in series:
        axes.plot(
            [rarity(percent) for percent, _ in one.points],
            [ms for _, ms in one.points],
            linewidth=2.5 if one.system == NAME else 1.6,
            color=_COLOURS.get(one.system),
            label=one.system,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    shown = _SHOWN_PERCENTILES
    axes.set_xticks([rarity(percent) for percent in shown], [f"{percent:g}" for percent in shown])
    axes.minorticks_off()
    axes.set_xlabel("percentile")
    axes.set_ylabel("ms")
    _finish(figure, axes, path)


def rarity(percent: float) -> float:
    """One in how many takes longer. Drawn by this, 99.9 stands as far from 99 as that from 90."""
    return 100 / (100 - percent)


def _plain(value: float, _place: int) -> str:
    return f"{value:,g}".replace(",", " ")


def _canvas(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    return figure, axes


def _finish(figure: Figure, axes: Axes, path: Path, *, legend: tuple[float, float] | None = None) -> None:
    axes.grid(visible=True, alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc=legend)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Software": None})
