"""Pictures that move: a GIF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import atomic
from tinygen.plot.figure import as_numpy, new_figure


def animation(
    frames: Sequence[Callable[[Any], None] | Any],
    path: str | Path,
    *,
    fps: float = 10,
    hold: float = 1.0,
    size: tuple[float, float] = (4, 4),
    title: str | None = None,
) -> Path:
    """Frames one after the other, for ever, as a GIF.  Returns its path; the folder is made.

    frames: each a function that draws on the axes it is given, which are empty; or an image, (H, W) or (H, W, 3), in [0, 1].

        def frame(points):
            return lambda axes: (axes.scatter(*points.T, s=2), axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal"))

        plot.animation([frame(h.numpy()) for h in layers], "layers.gif", fps=5)

    A function should set the limits of its axes: the same in every frame, or the picture jumps.
    fps: frames per second.  hold: seconds that the last one stays.  size: in inches, at 100 pixels each.
    Raises ValueError when there is no frame or an array is no image, ImportError without matplotlib.
    """
    if not len(frames) or not fps > 0:
        raise ValueError(f"animation: at least one frame and fps > 0 are expected, got {len(frames)} frames, fps={fps}")
    draws = [frame if callable(frame) else _image(as_numpy(frame)) for frame in frames]
    path = Path(path)
    with new_figure(None, *size, title) as figure:
        from matplotlib.animation import PillowWriter

        axes = figure.add_subplot()
        writer = PillowWriter(fps=fps)  # type: ignore[arg-type]
        with atomic.replacing(path, ending=True) as partial, writer.saving(figure, partial, dpi=100):
            for draw in draws:
                axes.clear()
                draw(axes)
                writer.grab_frame()
            for _ in range(round(hold * fps)):
                writer.grab_frame()
    return path


def _image(image: np.ndarray) -> Callable[[Any], None]:
    if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3:
        raise ValueError(f"animation: an image (H, W) or (H, W, 3) is expected as a frame, got shape {image.shape}")

    def draw(axes: Any) -> None:
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()

    return draw
