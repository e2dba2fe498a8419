"""Curves, points and densities in the plane, matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.plot.figure import CLASS_COLORS, COLORS, DASHES, GREY, as_numpy, check_labels, new_figure, set_ticks


def curves(
    series: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    xlabel: str,
    ylabel: str,
    lines: Mapping[str, float] | None = None,
    title: str | None = None,
    logx: bool = False,
    logy: bool = False,
    smooth: int = 1,
) -> Any:
    """Named curves over a common axis, with what they are to be measured against.

    series: name -> y of shape (n,), plotted over 1, ..., n, or a pair (x, y).  Say the units in xlabel and ylabel.
    lines: name -> level, drawn as dashed horizontals: floors, trivial baselines, published values.
    smooth: draw the mean over that many neighbours, with the values themselves faint behind (for losses per batch).
    Seven colours come again with other dashes; the names of more than twelve curves stand below them.
    Raises ValueError when there is nothing to draw, x and y differ in length, or smooth < 1.
    logx, logy: whether an axis is logarithmic.
    """
    if not series or smooth < 1:
        raise ValueError(
            f"curves: at least one series and smooth >= 1 are expected, got {list(series)}, smooth={smooth}"
        )
    below = _columns_below(series) if len(series) > 12 else 0
    names = math.ceil(len(series) / below) * 0.18 if below else 0.0  # their height
    with new_figure(path, 5.2, 3.2 + names, title) as figure:
        axes = figure.add_subplot()
        for i, (name, value) in enumerate(series.items()):
            xs, ys = _series(name, value)
            color, dashes = COLORS[i % len(COLORS)], DASHES[i // len(COLORS) % len(DASHES)]
            marker = "o" if len(ys) == 1 else None  # a line through one point would be invisible
            if smooth > 1 and len(ys) >= 2 * smooth:
                axes.plot(xs, ys, color=color, alpha=0.2, linewidth=0.7)
                kernel = np.full(smooth, 1 / smooth)
                xs, ys = np.convolve(xs, kernel, "valid"), np.convolve(ys, kernel, "valid")
            axes.plot(xs, ys, color=color, linestyle=dashes, label=name, marker=marker)
        if logx:
            axes.set_xscale("log")
        if logy:
            axes.set_yscale("log")
        axes.margins(x=0.02)
        if not logx and np.ptp(axes.get_xlim()) > 4:
            axes.locator_params(axis="x", integer=True)  # epochs and batches are counted
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if below:
            figure.legend(loc="outside lower center", ncols=below, fontsize=8)
        elif len(series) > 4 and not lines:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))  # inside, so many names would cover the curves
        elif len(series) > 1:
            axes.legend()
        _reference_lines(axes, lines or {})
    return figure


def _columns_below(names: Iterable[str]) -> int:
    """How many columns of names find room under a picture of 5.2 inches."""
    longest = max(map(len, names))
    return max(1, int(5.2 / (0.55 + 0.07 * longest)))


def scatter2d(
    points: Any,
    path: str | Path | None = None,
    *,
    labels: Any = None,
    xlabel: str = "$z_1$",
    ylabel: str = "$z_2$",
    title: str | None = None,
    size: float = 5,
) -> Any:
    """Points in the plane, (n, 2), coloured by class where there are labels (n,); each class is named at its median.

    Raises ValueError for other shapes.
    points: those.  size: of a dot.
    """
    points = _points("scatter2d", points)
    with new_figure(path, 4.2, 4, title) as figure:
        axes = figure.add_subplot()
        if labels is None:
            axes.scatter(*points.T, s=size, color=COLORS[0], alpha=0.6, linewidths=0)
        else:
            labels = as_numpy(labels)
            if labels.shape != points.shape[:1]:
                raise ValueError(f"scatter2d: labels of shape ({len(points)},) are expected, got {labels.shape}")
            for i, label in enumerate(np.unique(labels)):
                chosen = points[labels == label]
                color = CLASS_COLORS[i % len(CLASS_COLORS)]
                axes.scatter(*chosen.T, s=size, color=color, alpha=0.6, linewidths=0)
                box = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": color, "alpha": 0.9}
                axes.text(*np.median(chosen, axis=0), str(label), ha="center", va="center", fontsize=8, bbox=box)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_aspect("equal", adjustable="datalim")
    return figure


def panels2d(
    panels: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    limits: tuple[float, float, float, float] | None = None,
    title: str | None = None,
    resolution: int = 150,
    size: float = 3,
) -> Any:
    """Samples and densities in the plane, side by side on the same axes: {"data": x, "samples": y, "model": log_p}.

    A value is an array of points (n, 2), drawn as dots, or a function log_p: points (n, 2), float32 -> (n,) in nats,
    drawn as the density exp(log_p).  limits: (left, right, bottom, top); by default all the points, with a margin.
    Raises ValueError when there is no panel, or neither points nor limits to say where to look.
    panels: name -> value.  resolution: points per side at which a density is evaluated.
    """
    points = {name: _points("panels2d", value) for name, value in panels.items() if not callable(value)}
    if not panels or (limits is None and not any(len(p) for p in points.values())):
        raise ValueError("panels2d: at least one panel is expected, and points or limits that say where to look")
    left, right, bottom, top = limits or _limits(np.concatenate(list(points.values())))
    with new_figure(path, 2.8 * len(panels), 2.8 * (top - bottom) / (right - left) + 0.3, title) as figure:
        all_axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (name, value) in zip(all_axes, panels.items()):
            if callable(value):
                density = _density(value, (left, right, bottom, top), resolution)
                axes.imshow(density, extent=(left, right, bottom, top), origin="lower", cmap="viridis", vmin=0)
            else:
                axes.scatter(*points[name].T, s=size, color=COLORS[0], alpha=0.5, linewidths=0)
            axes.set(title=name, xlim=(left, right), ylim=(bottom, top), aspect="equal")
    return figure


def matrix(
    values: Any,
    path: str | Path | None = None,
    *,
    row_labels: Sequence[Any] | None = None,
    col_labels: Sequence[Any] | None = None,
    title: str | None = None,
    fmt: str = ".2f",
) -> Any:
    """A matrix with its numbers in the cells, blue below zero, red above, white at zero: a Jacobian, say.  (R, C).

    Exact zeros are written as a dot, so that a triangular or a block structure is seen at once.
    Raises ValueError for another number of dimensions, an empty matrix or labels that do not match.
    values: (R, C).  row_labels, col_labels: R and C texts.  fmt: of the numbers, as for `format`.
    """
    values = as_numpy(values).astype(np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"matrix: a matrix (R, C) with R, C >= 1 is expected, got shape {values.shape}")
    check_labels("matrix", values, col_labels, row_labels)
    finite = np.abs(values[np.isfinite(values)])
    scale = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    nrows, ncols = values.shape
    with new_figure(path, 0.55 * ncols + 0.8, 0.4 * nrows + 0.5, title) as figure:
        axes = figure.add_subplot()
        axes.imshow(values, cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            text = "·" if value == 0 else format(value, fmt)
            color = "white" if abs(value) > 0.6 * scale else "black"
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=8)
        set_ticks(axes, col_labels, range(ncols), row_labels, range(nrows))
        axes.spines[:].set_visible(False)
    return figure


def _reference_lines(axes: Any, lines: Mapping[str, float]) -> None:
    """Dashed horizontals, each named with its level beside the right end; names too close together are moved apart."""
    for level in lines.values():
        axes.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    axes.autoscale_view()  # otherwise the limits are only settled when the figure is drawn
    at = -1.0
    to_axes = axes.transData + axes.transAxes.inverted()
    for name, level in sorted(lines.items(), key=lambda line: line[1]):
        at = max(float(to_axes.transform((1, level))[1]), at + 0.06)
        axes.text(1.01, at, f"{name} {level:.4g}", transform=axes.transAxes, va="center", fontsize=8, color=GREY)


def _series(name: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(value, tuple) and len(value) == 2 and np.ndim(value[0]) == 1:
        x, y = as_numpy(value[0]).astype(np.float64), as_numpy(value[1]).astype(np.float64)
    else:
        y = np.array([float(v) for v in value])
        x = np.arange(1.0, len(y) + 1)
    if x.shape != y.shape or y.ndim != 1:
        raise ValueError(f"curves: {name}: x and y of shape (n,) are expected, got {x.shape} and {y.shape}")
    return x, y


def _points(function: str, points: Any) -> np.ndarray:
    points = as_numpy(points)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{function}: points of shape (n, 2) are expected, got {points.shape}")
    return points


def _limits(points: np.ndarray) -> tuple[float, float, float, float]:
    """A frame that holds all but the farthest 0.2 % of the points: a few wild samples must not shrink the rest."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:  # all samples are NaN: the picture is empty, but it is drawn
        return -1.0, 1.0, -1.0, 1.0
    low, high = np.quantile(points, [0.001, 0.999], axis=0)
    margin = 0.08 * float(max(high - low)) or 1.0
    return low[0] - margin, high[0] + margin, low[1] - margin, high[1] + margin


def _density(log_p: Callable[[Any], Any], limits: tuple[float, float, float, float], resolution: int) -> np.ndarray:
    """exp(log_p) at the centres of a grid over the limits: (rows, resolution), the bottom row first."""
    left, right, bottom, top = limits
    step = (right - left) / resolution
    x = left + step * (np.arange(resolution) + 0.5)
    y = bottom + step * (np.arange(max(1, round((top - bottom) / step))) + 0.5)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)
    values = as_numpy(log_p(grid)).reshape(len(y), len(x))
    return np.exp(values.astype(np.float64))
