"""A run that was stopped goes on where it was."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinygen import atomic, backend, checkpoint
from tinygen.data.epoch import Epoch
from tinygen.errors import UsageError
from tinygen.tensor import Tensor
from tinygen.training.interrupts import interrupts, say
from tinygen.training.log import Log
from tinygen.training.parts import Parts
from tinygen.training.results import plain

STORED: dict[str, Any] = {
    **{"epoch": int, "inside": bool, "step": int, "seconds": float, "values": dict},
    **{"settings": dict, "parts": dict, "modes": dict, "random": dict},
}
"""What makes a checkpoint that of a run."""


def is_state(stored: Mapping[str, Any]) -> bool:
    """Whether a Keeper has written that: numbers that count are numbers, and not negative."""
    if not all(isinstance(stored.get(name), kind) for name, kind in STORED.items()):
        return False
    loader, best = stored.get("loader"), stored.get("best")
    counts = [stored["epoch"], stored["step"], stored.get("log", 0)]
    if loader is not None:
        counts.append(loader.get("given") if isinstance(loader, Mapping) else None)
    return (
        all(type(n) is int and 0 <= n < 2**53 for n in counts)
        and (loader is not None or not stored["inside"])
        and 0 <= stored["seconds"] < math.inf
        and (best is None or type(best) in (int, float))
    )


class Keeper:
    """Keeps the state of a run in a file while the loop stays in sight, and lets it go on where it was stopped.

        keeper = training.Keeper(folder, model=model, optimizer=optimizer, schedule=schedule)
        for epoch in keeper.epochs(10):            # range(10), or the epochs that are left
            for x in keeper.batches(loader):       # the loader's batches, or those that are left of the epoch
                ...
                keeper.check(loss)                 # stops at a NaN, and says where it comes from
                loss.backward()
                ...
                keeper.log(loss=loss.item())       # a line of metrics.jsonl
            keeper.best(test_loss(model))          # run_best.safetensors holds the model with the lowest
        print(keeper.seconds)

    Kept are the parts, whether modules train or evaluate, the position in the epoch, the loader's order, the default random
    generators, the seconds of training, the length of the log, the best value, and `values`.  On a CPU the run ends bit for
    bit as if nobody had stopped it: the same parameters, the same losses.  What it takes is that the program is the same, and
    does the same before the loop.  On a GPU a matrix product may choose another kernel in another process, and threads that
    add to one place (gradients of indexing) come in any order: the state that is loaded is exact, and what is computed from
    it equal up to float32's rounding, 1e-6 of a number's size in a step; it grows with the steps as any rounding does.

    A local variable of the loop is not kept; numbers that are to survive go into `keeper.values`, a dict of numbers, texts,
    arrays and lists of them:

        with keeper.pause():                      # not counted in keeper.seconds
            keeper.values.setdefault("curve", []).append([keeper.seconds, test_loss(model)])

    If an epoch was stopped in its middle, what stands before its loop over batches is executed a second time.

    folder, name: the file is folder/name.safetensors (see `tinygen.checkpoint`), the log folder/metrics.jsonl, or
        folder/name_metrics.jsonl for a name of its own.  Without a folder nothing is kept, and the loops are plain loops.
    settings: what the run was started with, {"lr": 1e-3, ...}.  A run that was stored with others is refused.
    every: seconds between two savings, each at the end of a step or an epoch; the last is at the end of the run.  The
        default is 60, or what the environment variable TINYGEN_SAVE_EVERY says.
    parts: whatever has state_dict and load_state_dict (modules, optimizers, schedules, averages) or get_state and
        set_state (a Generator of its own).  A function that makes an optimizer adds it: `keeper.add(optimizer=optimizer)`.

    Ctrl-C (or SIGTERM, as batch systems send it) inside the loop over epochs finishes the step, saves, and raises
    KeyboardInterrupt; after the batches it first finishes what else the epoch does.  A second one raises at once, without saving.
    When a saving on the way fails, as on a full disk, the run says so on stderr and goes on, and tries again; the last
    checkpoint stays.  OSError is raised when that was the first saving, or is the last.
    Raises FloatingPointError instead of saving parameters that are not finite, UsageError when the stored run has other
    settings, parts or more epochs, CheckpointError when it cannot be read, and what the parts raise when their stored state
    does not fit.
    """

    values: dict[Any, Any]
    """What else is to survive."""
    step: int
    """The number of the batch in hand, 1, 2, ... over all epochs."""
    way_on: str = "the same command goes on from there"
    """What is said after Ctrl-C."""

    def __init__(
        self,
        folder: str | Path | None,
        name: str = "run",
        settings: Mapping[str, Any] | None = None,
        *,
        every: float | None = None,
        **parts: Any,
    ):
        own = "" if name == "run" else f"{name}_"
        self.file: Path | None = None if folder is None else Path(folder) / f"{name}.safetensors"
        self._best_file = None if folder is None else Path(folder) / f"{name}_best.safetensors"
        self._log = Log(None if folder is None else Path(folder) / f"{own}metrics.jsonl")
        self.settings: Any = plain(settings or {})
        self.values, self.step = {}, 0
        self._name = name if folder is None or own else Path(folder).resolve().name
        self._every = _save_every() if every is None else _seconds(every)
        self._parts = Parts()
        self._epoch, self._looped, self._inside, self._begun = 0, False, False, False
        self._interrupted: list[int] = []  # by which signals
        self._best: float | None = None
        self._saved: int | None = None  # the last step of which the file knows
        self._loader: Any = None
        self._before = 0.0  # seconds in the loops that are over
        self._since: float | None = None  # the start of the one under way
        self._stored: dict[str, Any] | None = None
        self.add(**parts)
        if self.file is not None and self.file.parent.is_dir():
            atomic.sweep(self.file.parent)
        if self.file is not None and checkpoint.exists(self.file):
            self._stored = checkpoint.load(self.file)
            self._check(self._stored)
            self.values, self._before = self._stored["values"], self._stored["seconds"]
            self._best, self._saved = self._stored.get("best"), self._stored["step"]
            if self._best is not None and math.isnan(self._best):
                self._best = None
        self._last = time.monotonic()  # when it was saved

    def add(self, **parts: Any) -> None:
        """More parts, before the loop begins."""
        self._parts.add(parts)

    @property
    def seconds(self) -> float:
        """Wall-clock time inside the loops over batches, without saving and `pause`, since the run began for the first time."""
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done inside, as measuring and drawing, does not count as training."""
        self._before, running = self.seconds, self._since is not None
        self._since = None
        try:
            yield
        finally:
            self._since = time.perf_counter() if running else None

    def log(self, **numbers: Any) -> None:
        """Add a line to the log: {"epoch": 3, "step": 1200, "seconds": 41.3, "loss": 0.27, ...}, for later curves.

        Epoch and step are counted from 1, seconds are `keeper.seconds`.  numbers: arrays and one-element Tensors too; NaN
        and inf are written as texts.  When the run goes on, what was written after the last saving is cut off: but for the
        seconds, the file ends as that of the uninterrupted run.
        """
        if taken := numbers.keys() & {"epoch", "step", "seconds"}:
            raise ValueError(f"Keeper.log: {', '.join(sorted(taken))} is written by itself; choose another name")
        if not self._is_repeating:
            self._log.write({"epoch": self._epoch + 1, "step": self.step, "seconds": round(self.seconds, 3), **numbers})

    def best(self, value: float, higher: bool = False) -> bool:
        """Whether no value before was as good: then the parts are saved in folder/name_best.safetensors.

        Lower is better, or with `higher` higher.  The first is the best so far; NaN never is.  The file is a checkpoint:
        `model.load_state_dict(checkpoint.load(file)["parts"]["model"])`.  Raises FloatingPointError like `check`.
        """
        value = float(value)
        is_best = not math.isnan(value) if self._best is None else value > self._best if higher else value < self._best
        if self._is_repeating or not is_best:
            return False
        state = {"epoch": self._epoch + (self._looped and not self._inside), "seconds": self.seconds, "value": value}
        if self._best_file is None or self._write(self._best_file, state):
            self._best = value
        return True

    def check(self, loss: Any) -> None:
        """Stop when the loss is not finite.  Called between the loss and its backward pass, which lets go of the graph.

        While it is finite this costs one look at one number (on a GPU it waits for it, as loss.item() does).
        Raises FloatingPointError that names the first operator which made a NaN or an infinity of finite numbers, and its
        line, or the parameter or the batch that had one to begin with.  The last checkpoint stays as it is.
        """
        value = float(loss)
        if not math.isfinite(value):
            lines = self._parts.origin(loss) if isinstance(loss, Tensor) else []
            raise self._not_finite(f"the loss is {value}", lines)

    def epochs(self, n: int) -> _Epochs:
        """The numbers 0, ..., n - 1 of the epochs; of a run that goes on, those that are not complete."""
        return _Epochs(self, n)

    def _run(self, n: int) -> Iterator[int]:
        start = 0
        if self._stored is not None:
            start, inside = self._stored["epoch"], self._stored["inside"]
            if start + inside > n:
                raise UsageError(
                    f"Keeper: the run in {self.file} has come to epoch {start + 1}, and this call asks for {n} epochs; "
                    "ask for as many, or remove the file to start anew"
                )
            self._load(self._stored)
            if start < n:
                done = f" after {self._stored['loader']['given']} batches" if inside else ""
                say(f"{self._name}: going on with epoch {start + 1}/{n}{done}, from {self.file}\n")
        self._begun = True
        keeping = self.file is not None and start < n
        with interrupts(keeping, self._end_of_what) as self._interrupted:
            for epoch in range(start, n):
                self._epoch, self._looped = epoch, False
                yield epoch
                self._stored = None
                asked = bool(self._interrupted)  # which may change at any moment
                must = asked or epoch + 1 == n
                if keeping and (must or self._is_due):
                    self._save(epoch + 1, inside=False, must=must)
                if asked:
                    self._stop(epoch + 1, inside=False)
            self._stored = None
            if self._interrupted:  # while the end was saved
                self._stop(n, inside=False)

    def _end_of_what(self) -> str:
        return "at the end of this step" if self._inside else "when this epoch is done"

    def batches(self, loader: Iterable[Any]) -> _Batches:
        """The batches of a DataLoader, to loop over once in every epoch.

        Another iterable, without state_dict, starts anew when the run goes on; then the run is saved between epochs only.
        """
        if self._looped:
            raise RuntimeError("Keeper.batches: one loop over batches per epoch can be kept, and this is a second one")
        self._looped, self._loader = True, loader
        given = 0
        if self._stored is not None:
            if self._stored["inside"]:  # whatever has been done since the beginning of the epoch had been done before
                self._load(self._stored)
                with self._is_readable():
                    given = self._stored["loader"]["given"]
            if self._stored["loader"] is not None:
                with self._is_readable():
                    loader.load_state_dict(self._stored["loader"])  # type: ignore[attr-defined]
            self._stored = None
        return _Batches(self, loader, given)

    def _loop(self, loader: Any) -> Iterator[Any]:
        resumable = self.file is not None and hasattr(loader, "state_dict")
        self._since = time.perf_counter()
        batches = iter(loader)
        if isinstance(batches, Epoch):  # its own position, which other loops over the loader leave alone
            self._loader = batches
        self._inside = True
        try:
            for batch in batches:
                self.step += 1
                yield batch
                asked = bool(self._interrupted)
                if resumable and (asked or self._is_due) and not _is_over(loader, self._loader):
                    self._save(self._epoch, inside=True, must=asked)
                    if asked:
                        self._stop(self._epoch, inside=True)
                elif asked and not resumable:  # nobody can say where a loop over such batches goes on
                    raise KeyboardInterrupt
        finally:
            self._before, self._since, self._inside = self.seconds, None, False
            if isinstance(batches, Epoch):
                batches.close()

    def _stop(self, epoch: int, inside: bool) -> None:
        """What Ctrl-C asks for, after the state was saved."""
        given = (
            f"in epoch {epoch + 1} after {self._loader.state_dict()['given']} batches"
            if inside
            else f"after epoch {epoch}"
        )
        say(f"{self._name}: stopped {given}, and saved in {self.file}; {self.way_on}\n")
        raise KeyboardInterrupt

    @property
    def _is_due(self) -> bool:
        return self.file is not None and time.monotonic() - self._last >= self._every

    def _save(self, epoch: int, inside: bool, must: bool = True) -> None:
        assert self.file is not None
        with self.pause():
            state = {
                "epoch": epoch,
                "inside": inside,
                "seconds": self.seconds,
                "values": self.values,
                "best": self._best,
                "loader": self._loader.state_dict() if hasattr(self._loader, "state_dict") else None,
                "random": backend.get_rng_state(),
            }
            if self._write(self.file, state, must):
                self._saved = self.step
            self._last = time.monotonic()

    def _write(self, file: Path, state: dict[str, Any], must: bool = False) -> bool:
        """Whether that, the settings and the parts are now in the file.

        With a checkpoint to fall back on, a run that goes on is worth more than the next one, unless it is one that it must
        have.
        """
        if lines := self._parts.not_finite():
            raise self._not_finite("the parameters cannot be saved", lines)
        try:
            with self.pause():
                log = {"log": self._log.sync()} if file == self.file else {}
                checkpoint.save(
                    file, log | {"settings": self.settings, "step": self.step} | self._parts.state() | state
                )
        except OSError as error:
            if must or self._saved is None:
                raise
            say(f"{self._name}: not saved, the run goes on: {error}\n")
            return False
        return True

    def _not_finite(self, what: str, lines: list[str]) -> FloatingPointError:
        saved = "nothing was saved before"
        if self._saved is not None:
            saved = f"the state after step {self._saved} is in {self.file}"
        advice = "lower the learning rate, clip the gradients (nn.utils.clip_grad_norm_), or look at the data"
        head = f"{self._name}: {what}, in epoch {self._epoch + 1}, step {self.step}"
        return FloatingPointError("\n    ".join([head, *lines, saved, advice]))

    @property
    def _is_repeating(self) -> bool:
        """Whether what is executed now was executed before the run was stopped: all that stands before the loop goes on."""
        return self._stored is not None and (self._stored["inside"] or not self._begun)

    def _check(self, stored: Mapping[str, Any]) -> None:
        """Raise UsageError if that is the state of another run."""
        if not is_state(stored):
            raise UsageError(f"Keeper: {self.file} is a checkpoint, but not a Keeper's; use another name or folder")
        then, now = stored["settings"], self.settings
        differing = [
            f"{name} = {then.get(name, 'not given')!r} then, {now.get(name, 'not given')!r} now"
            for name in {**then, **now}
            if name not in then or name not in now or then[name] != now[name]
        ]
        if differing:
            why = ""
            if then.get("epochs") != now.get("epochs"):
                why = " (its learning rate falls over all epochs, so that more of them are another training from the first step)"
            raise UsageError(
                f"Keeper: the stored run has other settings: {'; '.join(differing)}{why}; go on with the same, "
                f"or remove {self.file} to start anew"
            )

    def _load(self, stored: Mapping[str, Any]) -> None:
        with self._is_readable():
            self._parts.load(stored, self.file)
            self.step = stored["step"]
            self._log.go_on(stored.get("log", 0))
            backend.set_rng_state(stored["random"])

    @contextmanager
    def _is_readable(self) -> Iterator[None]:
        """What stumbles over a stored state inside is a file that is damaged, or that somebody else has made."""
        try:
            yield
        except (TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise checkpoint.CheckpointError(
                f"Keeper: what {self.file} holds cannot be taken ({type(error).__name__}: {error}); remove it to start anew"
            ) from error


class _Epochs:
    """Those that are left of a run: an iterable with a length."""

    def __init__(self, keeper: Keeper, n: int):
        self._keeper, self._n = keeper, n
        self._left = n if keeper._stored is None else max(0, n - keeper._stored["epoch"])

    def __len__(self) -> int:
        return self._left

    def __iter__(self) -> Iterator[int]:
        return self._keeper._run(self._n)


class _Batches:
    """What is left of an epoch: an iterable with a length."""

    def __init__(self, keeper: Keeper, loader: Any, given: int):
        self._keeper, self._loader, self._given = keeper, loader, given

    def __len__(self) -> int:
        return len(self._loader) - self._given

    def __iter__(self) -> Iterator[Any]:
        return self._keeper._loop(self._loader)


def _is_over(loader: Any, position: Any) -> bool:
    """Whether that was the epoch's last batch.  Then it is saved when the epoch is done: what stands behind the loop may use
    its variables, as the last loss, so that a run must go on with a batch or behind them.
    """
    try:
        return position.state_dict()["given"] == len(loader)
    except TypeError:  # a stream, of which nobody knows the length
        return False


def _save_every() -> float:
    text = os.environ.get("TINYGEN_SAVE_EVERY", "60")
    try:
        return _seconds(float(text))
    except ValueError:
        raise ValueError(f"TINYGEN_SAVE_EVERY: a number of seconds is expected, got {text!r}") from None


def _seconds(every: float) -> float:
    if not 0 <= every < math.inf:
        raise ValueError(f"Keeper: every is a number of seconds, 0 or more, got {every}")
    return every
