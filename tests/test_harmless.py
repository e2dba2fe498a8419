"""Whatever a name, a setting or a file says: a terminal shows it, a shell copies it and a picture draws it, and none obeys."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import harmless, nn, plot, tracing, training
from tinygen.cli import main, runs

ROOT = Path(__file__).resolve().parent.parent
anything = st.one_of(
    st.text(st.characters(codec=None)),  # lone surrogates too, as names of files have them that are not UTF-8
    st.text(st.sampled_from("a$\\{}_^ \x1b[2J\x07\n\r\t\x00\x85\u2028\u202e\u200b\ud800\udcff;'\"`|&<>#%")),
)
hostile = "\x1b]0;pwned\x07\x1b[2J\r\n\u202e\ud800$\\frac{1}{$"


def is_harmless(printed: str) -> bool:
    return all(line.isprintable() for line in printed.split("\n"))


@given(anything)
@example(hostile)
def test_a_text_is_one_printable_line(value):
    shown = harmless.text(value)
    assert shown.isprintable()
    assert len(value) > harmless.MOST or not value.isprintable() or shown == value


def test_a_long_text_takes_no_more_room_than_another():
    shown = harmless.text("a" * 10**6 + "\x1b" * 10**6)
    assert len(shown) < 5 * harmless.MOST and shown.startswith("aaa") and shown.endswith("\\x1b")


@given(anything, st.lists(anything, max_size=3))
def test_only_the_first_line_of_a_message_begins_at_the_margin(first, others):
    lines = harmless.message("\n".join([first, *others])).split("\n")
    assert all(line.isprintable() for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])


def test_a_message_of_many_lines_is_cut():
    assert harmless.message("\n" * 10**6).count("\n") < 50


def test_our_own_messages_stay_as_they_are():
    text = "linear: the input's last size must be the weight's second\n    input  (3, 4)\n    weight (2, 5)"
    assert harmless.message(text) == text


paths = st.text(st.characters(codec=None, exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1).map(Path)


@given(paths)
@example(Path("run;touch PWNED;#"))
@example(Path("--traceback"))
def test_a_command_has_its_words_back_in_a_shell(path):
    line = harmless.command("evaluate", path)
    assert line.isprintable() and line.startswith("tinygen evaluate ")
    if str(path).isprintable():
        *_, word = shlex.split(line)
        assert Path(word) == path and not word.startswith("-")


@pytest.mark.skipif(shutil.which("bash") is None, reason="a shell is asked")
@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(min_size=1).filter(lambda name: 0 not in name), min_size=5, max_size=20))
def test_bash_reads_every_name_of_a_file_as_one_word(names):
    """A name is any bytes but 0; quoted in a command, those very bytes are what the program gets."""
    line = harmless.command(*map(os.fsdecode, names)).removeprefix("tinygen ")
    assert line.isprintable()
    said = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, env={"LC_ALL": "C.UTF-8"}, timeout=60
    )
    assert said.stdout.split(b"\0")[:-1] == names


@given(
    st.lists(st.tuples(anything, st.one_of(anything, st.floats(), st.none())), max_size=4),
    st.tuples(anything, anything),
)
def test_a_table_has_a_line_for_each_row_and_no_other(rows, headers):
    lines = training.table(rows, headers).split("\n")
    assert len(lines) == len(rows) + 2
    assert all(line.isprintable() for line in lines)


@settings(max_examples=15, deadline=None)
@given(anything)
@example(hostile)
@example("a $\\frac{1}{$ b")
def test_a_title_is_drawn_as_it_is(value):
    """The SVG holds the letters of a text, and no letters of a formula, which are drawn as shapes one by one."""
    matplotlib = pytest.importorskip("matplotlib")
    figure = plot.image_grid(np.zeros((1, 2, 2)), title=harmless.title(value))
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}), pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # letters that the font has not
        figure.savefig(stream, format="svg")
    drawn = xml.dom.minidom.parseString(stream.getvalue()).getElementsByTagName("text")
    texts = ["".join(child.data for child in t.childNodes if child.nodeType == child.TEXT_NODE) for t in drawn]
    assert not value.strip() or any(t.strip() == harmless.text(value).strip() for t in texts)


def test_nobody_s_settings_change_a_picture(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    x = {"loss": [1.0, 10.0, 100.0]}
    plot.curves(x, tmp_path / "a.png", xlabel="step", ylabel="nats", logy=True)
    with matplotlib.rc_context(
        {"text.usetex": True, "font.size": 20, "figure.facecolor": "red", "path.sketch": (1, 100, 2)}
    ):
        plot.curves(x, tmp_path / "b.png", xlabel="step", ylabel="nats", logy=True)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@settings(max_examples=50, deadline=None)
@given(anything, anything)
@example("\x00", "\x0b\x1b")
def test_a_graph_is_xml_whatever_the_names_are(name, title):
    x = tg.ones(2, requires_grad=True)
    drawing = plot.graph((x * 2).sum(), names={name: x}, title=title, layout="builtin")
    assert drawing.encode() and xml.dom.minidom.parseString(drawing.encode())
    assert is_harmless(str(tracing.trace((x * 2).sum(), names={name: x})))


@given(anything)
def test_the_names_in_a_state_dict_are_printed_harmlessly(name):
    model = nn.Linear(2, 2)
    with pytest.raises(RuntimeError) as raised:
        model.load_state_dict({**model.state_dict(), f"{name}?": np.zeros(2)})
    assert is_harmless(str(raised.value))


@settings(deadline=None)
@given(
    st.sampled_from([ValueError, OSError, TypeError, KeyError, AttributeError, MemoryError, RecursionError]), anything
)
def test_whatever_a_run_folder_does_is_one_message_and_status_2(kind, said):
    def read(*_):
        raise kind(said)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "read", read)
        patch.setattr(sys, "stderr", stderr := io.StringIO())
        assert main(["sample", "somewhere"]) == 2
        printed = stderr.getvalue()
        assert printed.startswith("tinygen sample: ") and printed.endswith("\n")
        assert is_harmless(printed) and all(line.startswith("    ") for line in printed.split("\n")[1:-1])
        with pytest.raises(kind):
            main(["--traceback", "sample", "somewhere"])


def test_warnings_are_lines_like_errors(monkeypatch, capsys, recwarn):
    with harmless.warning_lines("tinygen sample"):
        import warnings

        shown = warnings.formatwarning(UserWarning(f"{hostile} is damaged"), UserWarning, "file.py", 3)
    assert shown.startswith("tinygen sample: ") and shown.endswith("is damaged\n") and is_harmless(shown)
    assert warnings.formatwarning(UserWarning("x"), UserWarning, "file.py", 3).startswith("file.py:3: UserWarning: x")


def test_arguments_that_are_refused_are_printed_harmlessly(capsys):
    """`tinygen sample *`: what the shell makes of the star are names of files."""
    with pytest.raises(SystemExit):
        main(["sample", "run", hostile])
    assert is_harmless(capsys.readouterr().err)


# --- the current folder -----------------------------------------------------------------------------------------------


@pytest.fixture
def handed_in(tmp_path):
    """A folder with modules that leave a trace when they are imported."""
    for name in ("numpy", "matplotlib", "filelock", "safetensors", "tqdm", "json"):
        (tmp_path / f"{name}.py").write_text("open('RAN', 'a').write(__name__)\nraise ImportError(__name__)")
    (tmp_path / "mine.py").write_text("import helper, tinygen\nprint(helper.x, tinygen.ones(1).sum().item())")
    (tmp_path / "helper.py").write_text("x = 'mine'")
    return tmp_path


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100
    )


def test_nothing_in_the_current_folder_is_imported(handed_in):
    assert "tinygen 0" in call(handed_in, "-m", "tinygen", "--version").stdout
    assert "no run that was trained" in call(handed_in, "-W", "error", "-m", "tinygen", "sample", ".").stderr
    assert not (handed_in / "RAN").exists()


def test_other_programs_are_found_in_the_current_folder(handed_in):
    (handed_in / "numpy.py").unlink()
    for file in ("filelock", "safetensors", "json"):
        (handed_in / f"{file}.py").unlink()
    assert call(handed_in, "-m", "mine").stdout == "mine 1.0\n"


def test_no_matplotlibrc_in_the_current_folder_is_read(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\n\x1b[2J: 1\n"
    )  # matplotlib shows lines that it does not know
    program = "from tinygen import plot; plot.image_grid([[[0.5]]], 'a.png', title='a_b')"
    said = call(tmp_path, "-c", program)
    assert (said.stdout, said.stderr, said.returncode) == ("", "", 0)
    assert (tmp_path / "a.png").exists()
