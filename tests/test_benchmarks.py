"""The benchmarks' workloads run on tinygen and PyTorch from one source, and do the same work."""

import importlib
import math
import mmap
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygen as tg


def load(name, monkeypatch):
    """A file of benchmarks/, which import each other as scripts do."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module(name)


def noise_for(T):
    rng = np.random.default_rng(1)
    return lambda *shape: T.tensor(rng.standard_normal(shape).astype(np.float32))


def check(workload, T, batch=3):
    return workload(T, np.random.default_rng(0), batch).check(noise_for(T))


MODELS = ["ae", "vae", "gan", "realnvp", "realnvp-layers", "conv-ae", "dcgan", "image-realnvp"]


def test_the_models_are_these(monkeypatch):
    assert list(load("models", monkeypatch).WORKLOADS) == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_is_trained(name, monkeypatch):
    workload = load("models", monkeypatch).WORKLOADS[name](tg, np.random.default_rng(0), 3)
    parameters = [p for module in workload.modules for p in module.parameters()]
    before = [p.array.copy() for p in parameters]
    assert np.isfinite(workload.check(noise_for(tg))).all()
    assert all((p.array != old).any() for p, old in zip(parameters, before, strict=True))


def in_double(workload, T):
    """The workload with everything in float64; its optimizers start anew."""
    for module in workload.modules:
        module.to(T.float64)
    for name, value in vars(workload).items():
        if isinstance(value, T.Tensor):
            setattr(workload, name, value.to(T.float64))
    return workload


@pytest.mark.parametrize("name", MODELS)
def test_both_libraries_train_alike(name, monkeypatch):
    """In float64: what float32 does to a loss, Adam magnifies."""
    torch = pytest.importorskip("torch")
    workload, losses = load("models", monkeypatch).WORKLOADS[name], []
    for T in (tg, torch):
        rng = np.random.default_rng(1)
        noise = lambda *shape, T=T, rng=rng: T.tensor(rng.standard_normal(shape))
        made = in_double(workload(T, np.random.default_rng(0), 3), T)
        made.checked_steps = 5
        losses.append(made.check(noise))
    np.testing.assert_allclose(*losses, rtol=1e-9)  # rounding of 1e-16, magnified as above


def test_the_convolutional_autoencoder_is_the_decks(monkeypatch):
    model = load("models", monkeypatch).WORKLOADS["conv-ae"](tg, np.random.default_rng(0), 2).model
    assert sum(math.prod(p.shape) for p in model.parameters()) == 112_457
    x, sizes = tg.zeros(2, 1, 28, 28), []
    for layer in model:
        x = layer(x)
        if not isinstance(layer, tg.nn.ReLU):
            sizes.append(x.shape[-1])
    assert sizes == [24, 20, 9, 4, 1, 4, 9, 20, 24, 28]


# The convolutional layers


def small_layers(monkeypatch):
    grid = load("conv_layers", monkeypatch).GRID
    return [shape for shape in grid if shape.size <= 9 and shape.channels[0] <= 32]


def test_the_grid_is_what_it_says(monkeypatch):
    layers = load("conv_layers", monkeypatch)
    assert len(layers.WORKLOADS) == len(layers.GRID) == len(set(layers.GRID))
    assert {s.kernel for s in layers.GRID} == {1, 3, 4, 5, 7} and {s.stride for s in layers.GRID} == {1, 2}
    assert {n for s in layers.GRID for n in s.channels} == {1, 8, 32, 64, 128}
    assert max(s.size for s in layers.GRID) == 64 and {s.kind for s in layers.GRID} == {"conv", "transposed"}


def test_a_layers_gradients_are_those_of_a_linear_map(monkeypatch):
    """⟨y - b, g⟩ = ⟨x, dx⟩ = ⟨w, dw⟩, and in the bias the sum of g."""
    for shape in small_layers(monkeypatch):
        work = shape(tg, np.random.default_rng(0), 2)
        y, x, weight, bias = work.step(None), work.x, work.layer.weight, work.layer.bias
        dot = lambda a, b: float(np.vdot(a.numpy().astype(np.float64), b.numpy()))
        linear = dot(y.detach(), work.g) - dot(bias.detach(), bias.grad)
        # float32 sums; no term is above 10, and there are 2·32·9² of them at the most
        assert dot(x.detach(), x.grad) == pytest.approx(linear, rel=1e-4, abs=1e-2)
        assert dot(weight.detach(), weight.grad) == pytest.approx(linear, rel=1e-4, abs=1e-2)
        np.testing.assert_allclose(bias.grad.tolist(), work.g.sum((0, 2, 3)).tolist(), rtol=1e-4, atol=1e-4)


def test_layers_agree_in_both_libraries(monkeypatch):
    torch = pytest.importorskip("torch")
    for shape in small_layers(monkeypatch):
        np.testing.assert_allclose(check(shape, tg, 2), check(shape, torch, 2), rtol=1e-4)


# What they share


def test_a_worker_answers_in_its_own_process(monkeypatch):
    workers, models = load("workers", monkeypatch), load("models", monkeypatch)
    with workers.Worker("tinygen", "models", 1) as worker:
        assert worker.ask("check", "ae", 3) == check(models.WORKLOADS["ae"], tg)
        worker.ask("build", "ae", 3)
        assert all(milliseconds > 0 for milliseconds in worker.ask("times", 0.01))


def test_losses_that_differ_are_refused(monkeypatch):
    workers = load("workers", monkeypatch)

    class Says:
        library = "a double"

        def __init__(self, *numbers):
            self.numbers = numbers

        def ask(self, *_):
            return self.numbers

    workers.agree([Says(1.0, 2.0), Says(1.0, 2.0001)], "x", 1)
    for numbers in ((1.0, 2.01), (1.0, math.nan)):
        with pytest.raises(RuntimeError, match="number 2 of the check differs"):
            workers.agree([Says(*numbers), Says(1.0, 2.0)], "x", 1)


def test_memory_is_measured_where_linux_tells_it(monkeypatch):
    """A process that holds 32 MiB more for a moment has a peak of 32 MiB more."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs here")
    workers = load("workers", monkeypatch)
    before = workers.resident("VmRSS")
    workers.forget_peak()
    with mmap.mmap(-1, 2**25) as held:  # not an array, whose memory may be that of an earlier one
        for page in range(0, 2**25, 4096):
            held[page] = 1
    assert 30 < workers.resident("VmHWM") - before < 40


def test_startup_is_measured_in_a_fresh_process(monkeypatch):
    assert all(0 < seconds < 60 for seconds in load("startup", monkeypatch).seconds("tinygen", call=True))


def test_the_ways_of_saving_memory_do_the_same_work(monkeypatch):
    """In float64: checkpoint gives the plain numbers, a flow run backwards gives them up to the rounding of its inverses."""
    ways = load("depth_memory", monkeypatch)
    plain, *others = (
        in_double_flow(ways.WORKLOADS[f"{way}, 5"](tg, np.random.default_rng(0), 2)).check(None) for way in ways.WAYS
    )
    for numbers in others:
        np.testing.assert_allclose(numbers, plain, rtol=1e-9)


def in_double_flow(work):
    work.flow.to(tg.float64)
    work.x = work.x.double()
    return work


def test_the_fitted_exponent_is_that_of_a_power(monkeypatch):
    exponent = load("depth_memory", monkeypatch).exponent
    assert exponent([4, 8, 16], [3 * n**0.5 for n in (4, 8, 16)]) == pytest.approx(0.5)


# How a step's time grows


def test_a_study_does_the_same_work_in_both_libraries(monkeypatch):
    torch = pytest.importorskip("torch")
    scaling = load("scaling", monkeypatch)
    for name, study in scaling.STUDIES.items():
        workload = scaling.WORKLOADS[f"{name}, {study.sizes[0]}"]
        np.testing.assert_allclose(check(workload, tg, 4), check(workload, torch, 4), rtol=1e-4)


def test_ten_thousand_layers_pass_one_gradient_through(monkeypatch):
    """Of identities and positive numbers: the loss is |x|², and each W has the gradient xᵀx."""
    work = load("scaling", monkeypatch).Deep(10_000, tg, np.random.default_rng(0), 4)
    x = work.x.numpy().astype(np.float64)
    loss, first, _, last, _ = work.check(None)
    # sums of 32 terms in float32
    assert [loss, first, last] == pytest.approx([(x**2).sum(), *[np.linalg.norm(x.T @ x)] * 2], rel=1e-5)


@pytest.mark.parametrize("operators", [10, 1000])
def test_a_chain_is_a_line_in_its_numbers(operators, monkeypatch):
    """k times y·w + b with w = 1: y = x + k b, dy/dx = 1, dy/dw = k x + b k (k - 1)/2, dy/db = k; by hand too."""
    scaling = load("scaling", monkeypatch)
    work = scaling.Graph(operators, tg, np.random.default_rng(0), 1)
    x, k, b = work.leaves[0].detach().numpy().astype(np.float64), operators // 2, 1 / operators
    gradients = [np.ones(32), k * x + b * k * (k - 1) / 2, np.full(32, float(k))]
    expected = [(x + k * b).sum(), *(np.linalg.norm(g) for g in gradients)]
    assert work.check(None) == pytest.approx(expected, rel=1e-4)  # float32 sums of up to 500 terms
    for g, exact in zip(scaling.by_hand(operators, *(x.array for x in work.leaves)), gradients, strict=True):
        np.testing.assert_allclose(g, exact, rtol=1e-4)


def test_only_the_upper_half_is_fitted(monkeypatch):
    """A time that is constant at first and then grows linearly has the exponent 1."""
    scaling = load("scaling", monkeypatch)
    assert scaling.upper_half([(n, max(n, 100.0)) for n in (1, 10, 100, 1000, 10_000)]) == pytest.approx(1)


def test_the_scaling_of_a_small_graph_is_printed_and_drawn(monkeypatch, tmp_path, capsys):
    scaling = load("scaling", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["scaling.py", "graph", "--quick", "--pictures", str(tmp_path)])
    scaling.main()
    out = capsys.readouterr().out
    assert "µs per operator" in out and "exponent" in out and "target for the engine <= 4 µs" in out
    assert (tmp_path / "scaling_graph.png").stat().st_size > 5000


# The guard


@pytest.fixture
def repository(tmp_path):
    """A repository of its own with tinygen and the benchmarks; commit(message) returns a name."""
    if shutil.which("git") is None:
        pytest.skip("no git here")
    root, here = tmp_path / "clone", Path(__file__).parents[1]
    for folder, source in (("tinygen", Path(tg.__file__).parent), ("benchmarks", here / "benchmarks")):
        shutil.copytree(source, root / folder, ignore=shutil.ignore_patterns("__pycache__"))

    def git(*arguments):
        who = ["-c", "user.name=a test", "-c", "user.email=test@example.org", "-c", "core.hooksPath=/dev/null"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    def commit(message):
        git("add", ".")
        git("commit", "-q", "-m", message)
        return git("rev-parse", "HEAD")

    git("init", "-q")
    commit.git, commit.root = git, root
    return commit


def test_the_guards_worktree_goes_whatever_happens(repository, monkeypatch):
    guard, first = load("guard", monkeypatch), repository("first")
    (repository.root / "tinygen" / "new.py").write_text("")
    for stop in (KeyboardInterrupt, SystemExit, RuntimeError):
        with pytest.raises(stop), guard.checked_out(first, repository.root) as folder:
            assert (folder / "tinygen" / "engine.py").exists() and not (folder / "tinygen" / "new.py").exists()
            raise stop
        assert not folder.exists() and len(repository.git("worktree", "list").splitlines()) == 1
    with pytest.raises(RuntimeError, match="'nonsense' is no commit"), guard.checked_out("nonsense", repository.root):
        pass


@pytest.mark.slow
def test_the_guard_tells_a_slower_checkout(repository):
    """A checkout whose Adam sleeps 30 ms is slower than its first commit, which has no compile, and as fast as its second."""
    init = repository.root / "tinygen" / "__init__.py"
    source = init.read_text("utf-8")
    init.write_text(source + "\ndel compile\n", "utf-8")
    first = repository("no compile")
    sleeping = "import time\nfast = optim.Adam.step\noptim.Adam.step = lambda self: (time.sleep(0.03), fast(self))[1]\n"
    init.write_text(source + "\n" + sleeping, "utf-8")
    repository("slow")

    def guard(commit):
        command = [sys.executable, "benchmarks/guard.py", commit, "ae", "--quick", "--limit", "5"]
        return subprocess.run(command, cwd=repository.root, capture_output=True, text=True, timeout=120)

    slower, equal = guard(first), guard("HEAD")
    assert slower.returncode == 1 and "not within the limit of 5: ae (1 thread(s), plain)" in slower.stderr
    assert "has no attribute 'compile'" in slower.stdout and slower.stdout.count("skipped") == 1
    assert equal.returncode == 0 and "skipped" not in equal.stdout, equal.stderr
    assert len(repository.git("worktree", "list").splitlines()) == 1
