"""A run that was stopped goes on where it was."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinygen import backend, checkpoint
from tinygen.training.results import plain


class Keeper:
    """Keeps the state of a run in a file while the loop stays in sight, and lets it go on where it was stopped.

        keeper = training.Keeper(folder, model=model, optimizer=optimizer, schedule=schedule)
        for epoch in keeper.epochs(10):            # range(10), or the epochs that are left
            for x in keeper.batches(loader):       # the loader's batches, or those that are left of the epoch
                ...
        print(keeper.seconds)

    Kept are the parts, whether modules train or evaluate, the position in the epoch, the loader's order, the default random generators, the seconds of
    training and `values`.  On a CPU the run ends bit for bit as if nobody had stopped it: the same parameters, the same
    losses.  What it takes is that the program is the same, and does the same before the loop.  A local variable of the loop
    is not kept; numbers that are to survive go into `keeper.values`, a dict of numbers, texts, arrays and lists of them:

        with keeper.pause():                      # not counted in keeper.seconds
            keeper.values.setdefault("curve", []).append([keeper.seconds, test_loss(model)])

    If an epoch was stopped in its middle, what stands before its loop over batches is executed a second time.

    folder, name: the file is folder/name.safetensors (see `tinygen.checkpoint`).  Without a folder nothing is kept, and the
        loops are plain loops.
    settings: what the run was started with, {"lr": 1e-3, ...}.  A run that was stored with others is refused.
    every: seconds between two savings, each at the end of a step or an epoch; the last is at the end of the run.
    parts: whatever has state_dict and load_state_dict (modules, optimizers, schedules, averages) or get_state and
        set_state (a Generator of its own).  A function that makes an optimizer adds it: `keeper.add(optimizer=optimizer)`.

    Ctrl-C finishes the step, saves, and raises KeyboardInterrupt; a second Ctrl-C does so at once, without saving.
    Raises ValueError when the stored run has other settings, parts or more epochs, CheckpointError when it cannot be read,
    and what the parts raise when their stored state does not fit.
    """

    values: dict[Any, Any]
    """What else is to survive."""
    step: int
    """The number of the batch in hand, 1, 2, ... over all epochs."""

    def __init__(
        self,
        folder: str | Path | None,
        name: str = "run",
        settings: Mapping[str, Any] | None = None,
        *,
        every: float = 60.0,
        **parts: Any,
    ):
        self.file = None if folder is None else Path(folder) / f"{name}.safetensors"
        self.settings = plain(settings or {})
        self.values, self.step = {}, 0
        self._name, self._every = name, every
        self._parts: dict[str, Any] = {}
        self._epoch, self._looped = 0, False
        self._loader: Any = None
        self._before = 0.0  # seconds in the loops that are over
        self._since: float | None = None  # the start of the one under way
        self._stored: dict[str, Any] | None = None
        self.add(**parts)
        if self.file is not None and checkpoint.exists(self.file):
            self._stored = checkpoint.load(self.file)
            self._check(self._stored)
            self.values, self._before = self._stored["values"], self._stored["seconds"]
        self._last = time.monotonic()  # when it was saved

    def add(self, **parts: Any) -> None:
        """More parts, before the loop begins."""
        for name, part in parts.items():
            if not (hasattr(part, "load_state_dict") or hasattr(part, "set_state")):
                raise TypeError(
                    f"Keeper: {name} is a {type(part).__name__}; a part has state_dict and load_state_dict, or get_state "
                    "and set_state"
                )
        self._parts |= parts

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

    def epochs(self, n: int) -> Iterator[int]:
        """The numbers 0, ..., n - 1 of the epochs; of a run that goes on, those that are not complete."""
        start = 0
        if self._stored is not None:
            start, inside = self._stored["epoch"], self._stored["inside"]
            if start + inside > n:
                raise ValueError(
                    f"Keeper: the run in {self.file} has come to epoch {start + 1}, and this call asks for {n} epochs; "
                    "ask for as many, or remove the file to start anew"
                )
            self._load(self._stored)
            if start < n:
                done = f" after {self._stored['loader']['given']} batches" if inside else ""
                sys.stderr.write(f"{self._name}: going on with epoch {start + 1}/{n}{done}, from {self.file}\n")
        for epoch in range(start, n):
            self._epoch, self._looped = epoch, False
            yield epoch
            self._stored = None
            if epoch + 1 < n:
                self._save_when_due(epoch + 1, inside=False)
        if self.file is not None and start < n:
            self._save(n, inside=False)

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
                given = self._stored["loader"]["given"]
            if self._stored["loader"] is not None:
                loader.load_state_dict(self._stored["loader"])  # type: ignore[attr-defined]
            self._stored = None
        return _Batches(self, loader, given)

    def _loop(self, loader: Any) -> Iterator[Any]:
        resumable = self.file is not None and hasattr(loader, "state_dict")
        self._since = time.perf_counter()
        try:
            with _interrupts(resumable) as interrupted:
                for batch in loader:
                    self.step += 1
                    yield batch
                    if interrupted:
                        self._save(self._epoch, inside=True)
                        given = loader.state_dict()["given"]
                        sys.stderr.write(
                            f"{self._name}: stopped in epoch {self._epoch + 1} after {given} batches, and saved in {self.file}; "
                            "the same command goes on from there\n"
                        )
                        raise KeyboardInterrupt
                    if resumable:
                        self._save_when_due(self._epoch, inside=True)
        finally:
            self._before, self._since = self.seconds, None

    def _save_when_due(self, epoch: int, inside: bool) -> None:
        if self.file is not None and time.monotonic() - self._last >= self._every:
            self._save(epoch, inside)

    def _save(self, epoch: int, inside: bool) -> None:
        assert self.file is not None
        with self.pause():
            state = {
                "settings": self.settings,
                "epoch": epoch,
                "inside": inside,
                "step": self.step,
                "seconds": self.seconds,
                "values": self.values,
                "loader": self._loader.state_dict() if hasattr(self._loader, "state_dict") else None,
                "random": backend.get_rng_state(),
                "parts": {name: _state(part) for name, part in self._parts.items()},
                "modes": {name: [m.training for m in _modules(part)] for name, part in self._parts.items()},
            }
            checkpoint.save(self.file, state)
            self._last = time.monotonic()

    def _check(self, stored: Mapping[str, Any]) -> None:
        """Raise ValueError if that is the state of another run."""
        if not {"settings", "parts", "epoch", "inside"} <= stored.keys():
            raise ValueError(f"Keeper: {self.file} is a checkpoint, but not a Keeper's; use another name or folder")
        then, now = stored["settings"], self.settings
        differing = [
            f"{name} = {then.get(name, 'not given')!r} then, {now.get(name, 'not given')!r} now"
            for name in {**then, **now}
            if name not in then or name not in now or then[name] != now[name]
        ]
        if differing:
            raise ValueError(
                f"Keeper: the stored run has other settings: {'; '.join(differing)}; go on with the same, "
                f"or remove {self.file} to start anew"
            )

    def _load(self, stored: Mapping[str, Any]) -> None:
        if differing := self._parts.keys() ^ stored["parts"].keys():
            missing, unexpected = (sorted(differing & names.keys()) for names in (self._parts, stored["parts"]))
            raise ValueError(
                f"Keeper: the stored run has other parts: missing {missing}, unexpected {unexpected}; go on with the same, "
                f"or remove {self.file} to start anew"
            )
        for name, part in self._parts.items():
            try:
                load = part.load_state_dict if hasattr(part, "load_state_dict") else part.set_state
                load(stored["parts"][name])
                for module, mode in zip(_modules(part), stored["modes"][name], strict=True):
                    module.training = mode
            except Exception as error:
                error.add_note(f"while {name} was loaded from {self.file}; remove that file to start anew")
                raise
        self.step = stored["step"]
        backend.set_rng_state(stored["random"])


class _Batches:
    """What is left of an epoch: an iterable with a length."""

    def __init__(self, keeper: Keeper, loader: Any, given: int):
        self._keeper, self._loader, self._given = keeper, loader, given

    def __len__(self) -> int:
        return len(self._loader) - self._given

    def __iter__(self) -> Iterator[Any]:
        return self._keeper._loop(self._loader)


def _modules(part: Any) -> list[Any]:
    return list(part.modules()) if hasattr(part, "modules") else []


def _state(part: Any) -> Any:
    return part.state_dict() if hasattr(part, "load_state_dict") else part.get_state()


@contextmanager
def _interrupts(wanted: bool) -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C is pressed.  Pressed again, it does what it did outside."""
    interrupted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()  # only there a signal can be caught
    if not (wanted and is_main and before is signal.default_int_handler):
        yield interrupted
        return

    def note(number: int, _: Any) -> None:
        interrupted.append(number)
        signal.signal(signal.SIGINT, before)
        sys.stderr.write("\nstopping at the end of this step (Ctrl-C again: at once, and nothing is saved)\n")

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
