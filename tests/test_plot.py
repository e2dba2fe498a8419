"""Pictures: the right pixels in the right place, written where asked, nothing left behind."""

import sys

import numpy as np
import pytest

import tinygen
from tinygen import data, plot

pytest.importorskip("matplotlib")
rng = np.random.default_rng(0)


def canvas(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_image_grid_shows_every_image_in_its_cell():
    images = (np.arange(7) / 7)[:, None, None] * np.ones((7, 56, 56))
    picture = canvas(plot.image_grid(images, ncols=3))
    pitch = (picture.shape[1] - 56) / 2  # from one image to the next
    for i in range(9):
        centre = picture[round(28 + (i // 3) * pitch), round(28 + (i % 3) * pitch)]
        assert centre == pytest.approx(i / 7 if i < 7 else 1)  # empty cells are white


def test_image_grid_enlarges_small_images_without_blurring():
    image = rng.random((1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(np.unique(canvas(plot.image_grid(image))), np.unique(image))


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 1, 8, 8), (5, 3, 8, 8), (1, 8, 4)])
def test_image_grid_takes_arrays_and_tensors_and_writes_the_file(shape, tmp_path):
    images = rng.random(shape, np.float32)
    path = tmp_path / "new" / "folder" / "grid.png"
    from_array = canvas(plot.image_grid(images, path, title="five"))
    assert path.read_bytes()[:4] == b"\x89PNG"
    from_tensor = canvas(plot.image_grid(tinygen.tensor(images, requires_grad=True)))
    np.testing.assert_array_equal(from_array, from_tensor)


def test_values_outside_the_range_are_clipped_and_nan_is_kept_visible():
    images = np.array([[[-1.0, 2.0], [0.5, np.nan]]])
    shown = canvas(plot.image_grid(images))
    assert np.nanmin(shown) == 0 and np.nanmax(shown) == 1 and np.isnan(shown).any()
    colour = canvas(plot.image_grid(np.repeat(images[:, None], 3, axis=1)))
    assert (colour == [1, 0, 1]).all(axis=-1).any() and not np.isnan(colour).any()


def test_rows_are_labelled_in_order():
    figure = plot.rows({"original": rng.random((4, 8, 8)), "PCA": rng.random((4, 8, 8))})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["original", "PCA"]


def test_latent_walk_and_manifold_label_their_axes():
    figure = plot.latent_walk(rng.random((2, 3, 1, 8, 8)), values=[-3.0, 0.0, 3.0], labels=["a", "b"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["-3", "0", "3"]
    figure = plot.manifold(rng.random((20, 20, 8, 8)), x=np.linspace(-2, 2, 20), y=np.linspace(2, -2, 20))
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(shown) == 20 and shown[0] == "-2" and sum(map(bool, shown)) <= 9
    assert canvas(figure).shape == (20 * 56, 20 * 56), "no gaps"


def test_curves_draw_their_values_and_their_reference_lines(tmp_path):
    y = [3.0, 2.0, tinygen.tensor(1.5)]
    figure = plot.curves(
        {"train": y, "test": (np.array([1.0, 3.0]), np.array([4.0, 2.0]))},
        tmp_path / "curves.pdf",
        xlabel="epoch",
        ylabel="loss (nats)",
        lines={"floor": 1.0, "PCA": 1.01},
    )
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 3], [2, 2], [3, 1.5]])
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[1, 4], [3, 2]])
    floor, pca = axes.texts
    assert (floor.get_text(), pca.get_text()) == ("floor 1", "PCA 1.01")
    assert pca.get_position()[1] - floor.get_position()[1] > 0.05, "names close together are moved apart"
    assert (tmp_path / "curves.pdf").stat().st_size > 0


def test_smoothed_curves_are_running_means():
    y = rng.random(50)
    line = plot.curves({"D": y}, xlabel="batch", ylabel="p", smooth=5).axes[0].lines[1]
    np.testing.assert_allclose(line.get_ydata(), [y[i : i + 5].mean() for i in range(46)])
    np.testing.assert_allclose(line.get_xdata(), np.arange(46) + 3)  # the middle of each window


def test_panels_share_limits_and_density_integrates_to_one():
    points = data.two_moons(500, 0.1, 0)
    limits = (-2.0, 3.0, -1.5, 2.0)
    figure = plot.panels2d(
        {"data": points, "density": lambda x: data.two_moons_log_prob(x, 0.1)}, limits=limits, resolution=200
    )
    scatter, density = figure.axes
    assert scatter.get_xlim() == density.get_xlim() == (-2, 3)
    values = np.asarray(density.images[0].get_array())
    assert values.shape == (140, 200)
    assert values.sum() * (5 / 200) ** 2 == pytest.approx(1, abs=1e-3)
    assert values[:, 70:].sum() > 0 and density.images[0].origin == "lower"


def test_panels_of_a_diverged_model_are_drawn():
    plot.panels2d({"samples": np.full((10, 2), np.nan)})


def test_a_density_may_be_given_by_tensors():
    plot.panels2d({"flow": lambda x: -tinygen.tensor(x).square().sum(1)}, limits=(-1, 1, -1, 1), resolution=10)


def test_scatter_names_every_class():
    figure = plot.scatter2d(rng.random((20, 2)), labels=np.arange(20) % 3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "1", "2"]
    assert len(plot.scatter2d(tinygen.rand(20, 2)).axes[0].texts) == 0


def test_matrix_writes_its_numbers():
    values = np.array([[1.0, 0.0], [-0.25, 3.0]])
    figure = plot.matrix(values, row_labels=["a", "b"], col_labels=["c", "d"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "·", "-0.25", "3.00"]
    plot.matrix(np.array([[0.0, np.nan]]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: plot.image_grid(np.zeros((4, 784))),
        lambda: plot.image_grid(np.zeros((0, 8, 8))),
        lambda: plot.image_grid(np.zeros((4, 2, 8, 8))),
        lambda: plot.image_grid(np.zeros((4, 8, 8)), ncols=0),
        lambda: plot.rows({}),
        lambda: plot.rows({"a": np.zeros((4, 8, 8)), "b": np.zeros((3, 8, 8))}),
        lambda: plot.latent_walk(np.zeros((2, 3, 8, 8)), values=[1.0]),
        lambda: plot.manifold(np.zeros((3, 8, 8))),
        lambda: plot.curves({}, xlabel="x", ylabel="y"),
        lambda: plot.curves({"a": (np.arange(3), np.arange(2))}, xlabel="x", ylabel="y"),
        lambda: plot.curves({"a": [1.0]}, xlabel="x", ylabel="y", smooth=0),
        lambda: plot.scatter2d(np.zeros((4, 3))),
        lambda: plot.scatter2d(np.zeros((4, 2)), labels=np.zeros(3)),
        lambda: plot.panels2d({}),
        lambda: plot.panels2d({"density": lambda x: x[:, 0]}),
        lambda: plot.matrix(np.zeros(3)),
        lambda: plot.matrix(np.zeros((2, 2)), row_labels=["one"]),
    ],
)
def test_shapes_that_make_no_sense_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_nothing_is_left_open_and_the_style_is_not_leaked():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plot.image_grid(np.zeros((1, 8, 8)))
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        plot.image_grid(np.zeros((1, 8, 8)))


def test_an_animation_has_its_frames_and_waits_at_the_end(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    seen = []

    def frame(i):
        def draw(axes):
            seen.append((i, len(axes.lines)))  # the axes are empty
            axes.plot([0, i], [0, 1])
            axes.set(xlim=(0, 3), ylim=(0, 1))

        return draw

    path = plot.animation([frame(i) for i in range(4)], tmp_path / "new" / "a.gif", fps=2, hold=1, size=(2, 1.5))
    assert seen == [(i, 0) for i in range(4)]
    with Image.open(path) as gif:
        assert gif.format == "GIF" and gif.size == (200, 150) and gif.info["loop"] == 0
        durations = []
        for i in range(gif.n_frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
    assert len(durations) >= 4 and sum(durations) == 500 * (4 + 2)


def test_an_animation_of_images(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    frames = [tinygen.zeros(4, 4), np.ones((4, 4)), np.zeros((4, 4, 3))]
    with Image.open(plot.animation(frames, tmp_path / "a.gif", fps=10, hold=0, size=(2, 2))) as gif:
        middle = []
        for i in range(gif.n_frames):
            gif.seek(i)
            middle.append(gif.convert("L").getpixel((100, 100)))
    assert middle == [0, 255, 0]
    for wrong in ([], [np.zeros(3)], [np.zeros((2, 2, 4))]):
        with pytest.raises(ValueError, match=r"animation: (at least one frame|an image)"):
            plot.animation(wrong, tmp_path / "b.gif")


@pytest.mark.parametrize(("n", "letters"), [(13, 4), (30, 8), (30, 60)])
def test_many_curves_can_be_told_apart_and_their_names_read(n, letters):
    """28 pairs of colour and dashes; the names are inside the picture, and not on the curves."""
    figure = plot.curves({f"{i:0{letters}d}": [1.0, 2.0 + i] for i in range(n)}, xlabel="epoch", ylabel="loss")
    (axes,) = figure.axes
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
    assert len(set(looks)) == min(n, 28)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == n
    box, inside = legend.get_window_extent(), axes.get_tightbbox()
    assert box.y1 <= inside.y0 and box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert axes.get_window_extent().height > 100, "there is room for the curves"
