"""The plumbing around a training loop: arguments, progress, runs that survive, the folder of a run, the table of results.

The training loop itself is not here: it stands in the example, in full.

    args = training.parser(__doc__, epochs=10, lr=1e-3).parse_args()
    device = training.select_device(args.device)
    run = training.start("vae", args)
    keeper = run.keeper(model=model, optimizer=optimizer)
    for epoch in keeper.epochs(args.epochs):
        for (x,) in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{args.epochs}")):
            ...
            bar.set("nats", loss=loss.item())
    run.save_metrics(test_loss=test_loss)
    plot.image_grid(samples, run.path("samples.png"))
"""

from tinygen.training.arguments import at_least, load_images, parser, positive, select_device
from tinygen.training.folder import config
from tinygen.training.interrupts import attempt
from tinygen.training.keeper import Keeper
from tinygen.training.progress import Progress, progress
from tinygen.training.records import Record
from tinygen.training.results import RESULT_HEADERS, table
from tinygen.training.run import Run, start

__all__ = [
    "RESULT_HEADERS",
    "Keeper",
    "Progress",
    "Record",
    "Run",
    "at_least",
    "attempt",
    "config",
    "load_images",
    "parser",
    "positive",
    "progress",
    "select_device",
    "start",
    "table",
]
