"""The page in a real browser: Chromium without a window opens the file, presses keys and clicks, and tells what it shows."""

import html
import json
import re
import shutil
import subprocess

import pytest

import tinygen as tg
from tinygen import plot

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser here: none of {', '.join(BROWSERS)}")

FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
--disable-component-update --disable-sync --virtual-time-budget=5000 --window-size=1300,900 --dump-dom".split()

# What a reader would do, and what the page shows after each action
SCRIPT = """
<script>
const seen = [], problems = [];
window.addEventListener("error", e => problems.push(e.message));
const press = (key, target = document.body) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const click = e => e.dispatchEvent(new MouseEvent("click", { bubbles: true }));
const ids = name => [...document.querySelectorAll(".vertex." + name)].map(e => e.id);
const note = action => seen.push({ action, counter: at("counter").textContent, current: ids("current"), target: ids("target"),
  complete: ids("complete").length, partial: ids("partial"), selected: ids("selected"), step: at("step").innerText,
  node: at("node").innerText, active: [...document.querySelectorAll(".edge.active")].map(e => e.id), hash: location.hash,
  pictures: document.querySelectorAll("#node canvas").length, disabled: [at("back").disabled, at("next").disabled] });
note("open");
press("ArrowRight"); note("right");
press("ArrowRight"); press("ArrowLeft"); note("right, left");
press("End"); note("end");
press("ArrowRight"); note("past the end");
press("Home"); press("ArrowLeft"); note("before the start");
at("next").click(); at("next").click(); note("two clicks on next");
at("slider").value = 5; at("slider").dispatchEvent(new Event("input")); note("slider");
click(at("NODE").querySelector("rect")); note("click on a node");
click(at("NODE")); note("again");
press("Enter", at("NODE")); note("enter on a node");
[...at("node").querySelectorAll("button")].filter(b => b.textContent === "images")[0].click(); note("images");
press("Escape"); note("escape");
at("list").querySelectorAll("button")[3].click(); note("third in the list");
press(" "); const playing = at("play").textContent; press(" "); note(playing + " " + at("play").textContent);
const result = document.createElement("pre");
result.id = "result"; result.textContent = JSON.stringify({ seen, problems, focusable: document.querySelectorAll(".vertex[tabindex='0'][role=button][aria-label]").length });
document.body.append(result);
</script>
"""


def browse(path, folder):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


def test_a_reader_steps_through_the_pass(tmp_path):
    tg.manual_seed(0)
    x = tg.rand(3, 64)
    w = tg.randn(64, 2, requires_grad=True)
    h = (x @ w).tanh()
    loss = (h * h).mean() + (w * w).sum()
    names = {"x": x, "W <1>": w, "h": h, "loss": loss}
    page = plot.graph_page(loss, names=names)
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.S)
    data = json.loads(data)
    steps, (leaf,) = data["steps"], [n["id"] for n in data["nodes"] if n["name"] == "W <1>"]
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", SCRIPT.replace("NODE", leaf) + "</body>"), "utf-8")
    (result,) = re.findall(r'<pre id="result">(.*?)</pre>', browse(path, tmp_path / "profile"), re.S)
    result = json.loads(html.unescape(result))
    assert result["problems"] == [] and result["focusable"] == len(data["nodes"])
    seen = {s["action"]: s for s in result["seen"]}
    n = len(steps)

    def is_at(action, k):
        state = seen[action]
        assert state["counter"] == f"step {k} of {n}"
        assert state["current"] == ([steps[k - 1]["node"]] if k else [data["output"]])
        assert state["target"] == ([steps[k - 1]["input"]] if k else [])
        assert state["active"] == ([steps[k - 1]["edge"]] if k else [])
        assert state["disabled"] == [k == 0, k == n]
        arrived = [s["input"] for s in steps[:k]]
        done = {i for i in arrived if arrived.count(i) == sum(s["input"] == i for s in steps)}
        assert state["complete"] == 1 + len(done) and set(state["partial"]) == set(arrived) - done
        assert f"step={k}" in state["hash"]
        if k:
            assert f"Step {k} of {n}" in state["step"] and steps[k - 1]["rule"] in state["step"]

    is_at("open", 0)
    assert "The backward pass starts at" in seen["open"]["step"] and "Click a node" in seen["open"]["node"]
    is_at("right", 1)
    is_at("right, left", 1)
    is_at("end", n)
    is_at("past the end", n)
    is_at("before the start", 0)
    is_at("two clicks on next", 2)
    is_at("slider", 5)
    for action in ("click on a node", "enter on a node"):
        assert seen[action]["selected"] == [leaf]
        assert "W <1>" in seen[action]["node"] and "leaf that requires a gradient" in seen[action]["node"]
        assert "shape (64, 2)" in seen[action]["node"]
    assert seen["again"]["selected"] == []
    assert seen["images"]["pictures"] >= 1
    assert seen["escape"]["selected"] == []
    is_at("third in the list", 3)
    is_at("pause play", 3)


def test_a_link_leads_to_a_step_and_a_node(tmp_path):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    path = tmp_path / "page.html"
    plot.graph_page((x * x).sum(), path, names={"x": x})
    linked = path.with_name("linked.html")
    go = '<script>document.title = [now, selected, at("node").innerText.includes("1 of 2 contributions so far")].join(" ");</script>'
    text = (
        path.read_text("utf-8").replace("location.hash.slice(1)", '"step=2&node=n0"').replace("</body>", go + "</body>")
    )
    linked.write_text(text, "utf-8")
    assert "<title>2 n0 true</title>" in browse(linked, tmp_path / "profile")
