"""The computational graph as a drawing and as a page: well-formed, complete, honest about the trace, safe from its names."""

import json
import math
import re
import shutil
import xml.etree.ElementTree as xml
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

import tinygen as tg
from tinygen import plot
from tinygen.autograd import trace
from tinygen.plot import layout
from tinygen.plot.graph_html import as_images, describe, page_data
from tinygen.plot.graph_svg import build

SVG = "{http://www.w3.org/2000/svg}"
PROGRAMS = [
    "builtin",
    pytest.param("dot", marks=pytest.mark.skipif(not shutil.which("dot"), reason="no graphviz here")),
]


def network(device="cpu", name="W1"):
    tg.manual_seed(0)
    x = tg.rand(4, 64, device=device)
    w1 = tg.randn(64, 5, device=device, requires_grad=True)
    b1 = tg.zeros(5, device=device, requires_grad=True)
    w2 = tg.randn(5, 1, device=device, requires_grad=True)
    h = (x @ w1 + b1).tanh()
    loss = ((h @ w2 - 1) ** 2).mean() + 0.1 * (w1 * w1).sum()
    return loss, {"x": x, name: w1, "b1": b1, "W2": w2, "h": h, "loss": loss}


# The layout


@st.composite
def dags(draw):
    n = draw(st.integers(1, 14))
    sizes = [(draw(st.integers(30, 160)), draw(st.sampled_from([31, 48]))) for _ in range(n)]
    pairs = [(a, b) for b in range(n) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=24)) if pairs else []  # parallel edges too
    return sizes, edges


@given(dags())
def test_vertices_do_not_overlap_and_edges_run_down_between_their_ends(dag):
    sizes, edges = dag
    result = layout.place(sizes, edges, "builtin")
    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(result.centres, sizes)]
    for i, (l1, t1, r1, b1) in enumerate(boxes):
        assert -1e-6 <= l1 and r1 <= result.width + 1e-6 and -1e-6 <= t1 and b1 <= result.height + 1e-6
        for l2, t2, r2, b2 in boxes[:i]:
            assert r1 <= l2 + 1e-6 or r2 <= l1 + 1e-6 or b1 <= t2 + 1e-6 or b2 <= t1 + 1e-6
    for (a, b), curve in zip(edges, result.curves):
        assert len(curve) % 3 == 1
        (x0, y0), (x1, y1) = curve[0], curve[-1]
        assert boxes[a][0] < x0 < boxes[a][2] and y0 == pytest.approx(boxes[a][3])
        assert boxes[b][0] < x1 < boxes[b][2] and y1 == pytest.approx(boxes[b][1])
        assert all(below >= above - 1e-6 for (_, above), (_, below) in pairwise(curve))
    assert layout.place(sizes, edges, "builtin") == result, "the same graph is drawn the same way"


@given(dags())
def test_crossings_are_counted_and_never_increased_by_sorting(dag):
    sizes, edges = dag
    layer = layout._layers(len(sizes), edges)
    assert all(layer[a] < layer[b] for a, b in edges)
    links = sorted({(a, b) for a, b in edges if layer[b] == layer[a] + 1})
    above, below = [[] for _ in sizes], [[] for _ in sizes]
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    rows = [[v for v in range(len(sizes)) if layer[v] == k] for k in range(max(layer) + 1)]

    def crossings(rows):
        place = {v: i for row in rows for i, v in enumerate(row)}
        pairs = (
            ((place[a], place[b]), (place[c], place[d]))
            for (a, b), (c, d) in product(links, links)
            if layer[a] == layer[c]
        )
        return sum(a < c and b > d for (a, b), (c, d) in pairs)

    assert layout._crossings(rows, below) == crossings(rows)
    ordered = layout._order([list(row) for row in rows], above, below)
    assert [sorted(row) for row in ordered] == rows and crossings(ordered) <= crossings(rows)


def test_a_crossing_that_need_not_be_is_removed():
    sizes = [(40, 31)] * 6
    result = layout.place(sizes, [(0, 5), (1, 4), (2, 3)], "builtin")
    top = sorted(range(3), key=lambda v: result.centres[v][0])
    assert [5 - v for v in top] == sorted(range(3, 6), key=lambda v: result.centres[v][0])


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 10)), min_size=1, max_size=12))
def test_places_are_the_closest_that_keep_their_distances(wishes):
    distances = [10.0 + i for i in range(len(wishes) - 1)]
    places = layout._apart(wishes, distances)
    offsets = np.concatenate([[0], np.cumsum(distances)])
    best = isotonic_regression([w for w, _ in wishes] - offsets, weights=[w for _, w in wishes]).x + offsets
    np.testing.assert_allclose(places, best, atol=1e-9)


def test_layout_errors(monkeypatch):
    with pytest.raises(ValueError, match='"auto", "dot" or "builtin" is expected, got \'circle\''):
        layout.place([(10, 10)], [], "circle")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(RuntimeError, match="dot is not installed"):
        layout.place([(10, 10)], [], "dot")
    assert layout.place([(10, 10)], [], "auto").centres == [(5, 5)]


# The drawing


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_drawing_has_every_node_and_edge(program, tmp_path):
    loss, names = network()
    path = tmp_path / "new" / "graph.svg"
    drawing = plot.graph(loss, path, names=names, layout=program)
    root = xml.fromstring(drawing)
    assert path.read_text("utf-8") == drawing == drawing._repr_svg_()
    model = build(loss, names)
    groups = {g.get("id"): g for g in root.iter(f"{SVG}g")}
    assert list(groups) == [v.key for v in model.vertices]
    texts = {key: [t.text for t in g.iter(f"{SVG}text")] for key, g in groups.items()}
    assert ["W1"] in texts.values() and ["tanh", "h"] in texts.values() and ["pow(·, 2)"] in texts.values()
    assert [g.get("class") for g in groups.values()].count("vertex leaf") == 3
    assert groups[model.vertices[-1].key].get("class") == "vertex operator output"
    edges = [p for p in root.iter(f"{SVG}path") if p.get("id", "").startswith("e")]
    assert len(edges) == len(model.edges) == 16
    assert [e.get("class") for e in edges].count("edge constant") == 1, "x is data"
    shapes = [t.text for t in root.iter(f"{SVG}text") if t.get("class") == "shape"]
    assert sorted(shapes) == sorted(str(v.shape) for v in model.vertices[:-1])
    left, top, width, height = map(float, root.get("viewBox").split())
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        assert left <= x and top <= y and x + w <= left + width + 0.1 and y + h <= top + height + 0.1  # rounded to 0.1
    loss.backward()  # the graph is still there


def test_arrays_and_numbers_among_the_arguments_are_shown():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    model = build((x * np.array([1.0, 2.0], np.float32)).sum())
    assert [v.kind for v in model.vertices] == ["leaf", "data", "operator", "operator"]
    assert [(e.source, e.target, e.argument, e.has_gradient) for e in model.edges][:2] == [
        (0, 2, 1, True),
        (1, 2, 2, False),
    ]
    assert [v.label for v in build(tg.sub(0.25, x).sum()).vertices] == ["leaf", "sub(0.25, ·)", "sum"]
    assert build(x).vertices[0].kind == "leaf" and "leaf" in plot.graph(x)
    assert [e.argument for e in build(x * x).edges] == [1, 2]


def test_the_strict_device(device):
    loss, names = network(device)
    assert "W1" in plot.graph(loss, names=names) and "W1" in plot.graph_page(loss, names=names)


def test_a_large_graph_is_drawn():
    x = tg.ones(2, requires_grad=True)
    y = x
    for _ in range(100):
        y = y + x.tanh() * 0.5
    root = xml.fromstring(plot.graph(y.sum(), layout="builtin"))
    assert len(list(root.iter(f"{SVG}g"))) == 1 + 3 * 100 + 1


def test_errors():
    loss, _ = network()
    with pytest.raises(TypeError, match="graph: a tensor is expected, got int"):
        plot.graph(1)
    with pytest.raises(TypeError, match="names: 'x' must name a tensor"):
        plot.graph(loss, names={"x": 1})
    loss.backward()
    with pytest.raises(RuntimeError, match="was released by backward"):
        plot.graph(loss)
    with pytest.raises(RuntimeError, match="released"):
        plot.graph_page(loss)


# The page


def embedded(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_the_page_says_what_the_trace_says(tmp_path):
    loss, names = network()
    path = tmp_path / "new" / "page.html"
    page = plot.graph_page(loss, path, names=names, title="Two layers")
    assert path.read_text("utf-8") == page and page.count("<title>Two layers</title>") == 2, (
        "of the page, of the drawing"
    )
    data, steps = embedded(page), trace(loss, names=names)
    assert data == json.loads(json.dumps(page_data(build(loss, names), steps)))
    node = {n["id"]: n for n in data["nodes"]}
    assert len(data["steps"]) == len(steps) == 15
    for shown, step in zip(data["steps"], steps):
        assert node[shown["node"]]["label"].startswith(step.op) and shown["rule"] == step.rule_text
        assert node[shown["input"]]["name"] == steps.name(step.input)
        assert shown["line"].startswith("test_plot_graph.py:") and shown["line"].endswith(step.code)
        assert (shown["arrival"], shown["arrivals"]) == (step.arrival, step.arrivals)
        for part in ("incoming", "outgoing", "total"):
            array, g = data["arrays"][shown[part]], getattr(step, part).numpy()
            assert array["shape"] == str(g.shape)
            assert float(array["stats"]["norm"]) == pytest.approx(np.linalg.norm(g), rel=1e-3)  # four digits
    body = page.split("<svg")[1].split("</svg>")[0]
    for key in [n["id"] for n in data["nodes"]] + [s["edge"] for s in data["steps"]]:
        assert body.count(f'id="{key}"') == 1
    (to_b,) = [s for s in data["steps"] if node[s["input"]]["name"] == "b1"]
    assert to_b["summed"] == "(4, 5)"
    (tanh,) = [s for s in data["steps"] if node[s["node"]]["name"] == "h"]
    assert tanh["reads"] == [
        ["g", "gradient in", "shape (4, 5)"],
        ["out", "output", "shape (4, 5)"],
        ["_x", "argument 1", "shape (4, 5)"],
    ]


def test_the_page_needs_no_network():
    loss, names = network()
    page = plot.graph_page(loss, names=names)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|\bsrc=|<link|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page, "and the browser is told to refuse it"


@pytest.mark.parametrize("name", ['</script><script>alert("1")</script>', "<!--GRAPH-->", "<b>&amp;\"'", "W\\u003c ü→"])
def test_names_are_text_never_markup(name):
    loss, names = network(name=name)
    drawing = plot.graph(loss, names=names)
    assert name[:33] in [t.text.rstrip("…") for t in xml.fromstring(drawing).iter(f"{SVG}text")]
    page = plot.graph_page(loss, names=names, title=name)
    assert [n["name"] for n in embedded(page)["nodes"] if n["kind"] == "leaf"].count(name) == 1
    assert page.count("<script") == page.count("</script>") == 2 and page.count("<svg") == 1 and "<b>" not in page


def test_hooks_show_on_the_page():
    loss, names = network()
    names["W2"].register_hook(lambda g: g * 100)
    data = embedded(plot.graph_page(loss, names=names))
    (w2,) = [n for n in data["nodes"] if n["name"] == "W2"]
    (arrived,) = [s for s in data["steps"] if s["input"] == w2["id"]]
    norms = [float(data["arrays"][i]["stats"]["norm"]) for i in (w2["hooked"], arrived["total"])]
    assert norms[0] == pytest.approx(100 * norms[1], rel=1e-3)  # four digits


# Arrays on the page


def test_small_arrays_are_written_out_large_ones_cut():
    small = describe(np.array([[1.5, -2.0], [0.0, 1e-9]]))
    assert small["numbers"] == [["1.5", "-2"], ["0", "1e-09"]] and small["more"] == [0, 0]
    assert describe(np.float32(3).reshape(()))["numbers"] == [["3"]] and "matrix" not in describe(np.ones(()))
    large = describe(np.arange(20000.0).reshape(2, 50, 200))
    assert large["more"] == [92, 192] and large["numbers"][1][0] == "200"
    assert large["stats"] == {"min": "0", "max": "2e+04", "mean": "1e+04", "norm": "1.633e+06"}
    assert large["matrix"][:2] == [64, 128]
    assert describe(np.zeros((0, 3)))["numbers"] == [] and describe(np.zeros((3, 0)))["stats"] == {}
    assert describe(np.array([True, False]))["stats"]["max"] == "1"


def test_pixels_span_the_range_and_show_what_is_no_number():
    import base64

    shown = describe(np.array([-1.0, 0.0, 2.0, np.nan, np.inf]))
    assert list(base64.b64decode(shown["matrix"][2])) == [64, 127, 254, 255, 254]  # -2, 0 and 2 are 0, 127 and 254
    assert shown["stats"]["NaN"] == "1" and shown["stats"]["infinite"] == "1" and shown["range"][2] is True
    assert list(base64.b64decode(describe(np.array([0.0, 1.0, 4.0]))["matrix"][2])) == [0, 64, 254]
    assert describe(np.full(2, np.nan))["stats"] == {"NaN": "2"}
    json.dumps(describe(np.array([1e308, -1e308, 5e-324])), allow_nan=False)


@pytest.mark.parametrize(
    "shape, image_shape, expected",
    [
        ((20, 784), None, (16, 28, 28)),
        ((3, 64), None, (3, 8, 8)),
        ((64, 5), None, (5, 8, 8)),  # columns: the weight of a last layer
        ((2, 1, 9, 7), None, (2, 9, 7)),
        ((4, 10), None, None),
        ((64,), None, None),
        ((64,), (8, 8), (1, 8, 8)),
        ((8, 8), (8, 8), (1, 8, 8)),
        ((3, 63), (9, 7), (3, 9, 7)),
        ((0, 64), None, None),
        ((3, 64), (28, 28), None),
    ],
)
def test_which_arrays_are_pictures(shape, image_shape, expected):
    a = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    images = as_images(a, image_shape)
    assert (None if images is None else images.shape) == expected
    if expected and shape == (64, 5):
        np.testing.assert_array_equal(images[2].ravel(), a[:, 2])
    elif expected:
        np.testing.assert_array_equal(images.ravel(), a.ravel()[: images.size])
