"""One training loop for all models."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinygen as tg
from tinygen import data, harmless, models, nn, optim, training
from tinygen.cli import judge, runs, show
from tinygen.cli.kinds import KINDS, Samples, options


def train(args: argparse.Namespace) -> None:
    """Train the model args.model; its folder holds the weights, the losses, pictures of every epoch, and its numbers."""
    kind = KINDS[args.model]
    device = training.select_device(args.device)
    x_train, x_test, sets = runs.samples(args, kind.points)
    tg.manual_seed(args.seed)
    model = kind.build(x_train, **{name: getattr(args, name) for name in options(kind)}).to(device)
    args.epochs = 2 if args.dry_run else args.epochs or kind.epochs[len(x_train.x) < 5000]
    args.batch_size, args.lr = args.batch_size or kind.batch_size, args.lr or kind.lr
    args.image = list(x_train.image) if sets else None  # what a perceptron draws is a row of numbers
    run = training.start(args.name or args.model, args)
    layout = f", {model.layout}" if hasattr(model, "layout") else ""  # the layers that it chose for images of this size
    print(
        f"{args.model}: {sum(p.numel() for p in model.parameters()):,} parameters{layout}, "
        f"{harmless.text(sets[0]) if sets else 'points (n, 2)'}"
    )

    x = runs.rows_of(model, x_train.x)
    is_game = isinstance(model, models.GAN)
    loader = data.DataLoader(
        x,
        args.batch_size,
        shuffle=True,
        generator=args.seed,
        device=device,
        drop_last=is_game and len(x) > args.batch_size,
    )
    parts, step = (
        game(model, args.lr)
        if isinstance(model, models.GAN)
        else descent(model, args.lr, args.epochs * len(loader), kind.max_norm)
    )
    until = {"epochs": args.epochs} if "schedule" in parts else {}  # what has none can be trained longer
    keeper = run.keeper(until, model=model, **parts)
    draw = show.every_epoch(model, x_test, run, args.seed)
    for epoch in keeper.epochs(args.epochs):
        model.train()
        for batch in (bar := training.progress(keeper.batches(loader), f"epoch {epoch + 1}/{args.epochs}")):
            numbers = step(batch, keeper)
            keeper.log(**numbers)
            bar.set(judge.loss_unit(model), **{key: numbers[key] for key in numbers if key.endswith("loss")})
        with nn.utils.evaluating(model):
            if not isinstance(model, models.GAN):  # whose losses say nothing about its images
                keeper.best(held_out(model, x_test))
            with training.attempt(f"the picture of epoch {epoch + 1}"):
                draw(epoch + 1)
    trained = runs.Trained(
        run.folder, args.model, model.eval(), training.config(run.folder)["arguments"], args.epochs, keeper.seconds
    )
    judge.measure(trained, x_train, x_test, sets, args)
    print(
        f"Trained for {keeper.seconds:.0f} s.  Weights, losses and pictures are in {harmless.text(run.folder, harmless.PATH)}/; next:"
    )
    is_path = args.data not in (*runs.MOONS, *data.SETS)
    where = ("--data", Path(args.data)) if is_path else ()
    for command in ("sample", "evaluate") if kind.points else ("sample", "interpolate", "evaluate"):
        print(f"    {harmless.command(command, run.folder, *where)}")


def held_out(model: Any, test: Samples) -> float:
    """The loss of (at most 1,000) new samples.  Its draws and its mode leave those of the training as they are."""
    state = tg.get_rng_state()
    try:
        with nn.utils.evaluating(model), tg.no_grad():
            return model.loss(runs.here(model, test.x[:1000])).item()
    finally:
        tg.set_rng_state(state)


Step = Callable[[tg.Tensor, training.Keeper], dict[str, float]]


def descent(model: Any, lr: float, steps: int, max_norm: float) -> tuple[dict[str, Any], Step]:
    """Adam on `model.loss`, its learning rate falling along a cosine: what has a state, and what one step does."""
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)

    def step(x: tg.Tensor, keeper: training.Keeper) -> dict[str, float]:
        optimizer.zero_grad()
        loss = model.loss(x)
        keeper.check(loss)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        numbers = {"loss": loss.item(), "gradient norm": float(norm), "lr": optimizer.param_groups[0]["lr"]}
        optimizer.step()
        schedule.step()
        return numbers

    return {"optimizer": optimizer, "schedule": schedule}, step


def game(model: models.GAN, lr: float) -> tuple[dict[str, Any], Step]:
    """Two optimizers, and a round of the game."""
    d_optimizer = optim.Adam(model.discriminator.parameters(), lr=lr, betas=(0.5, 0.999))
    g_optimizer = optim.Adam(model.generator.parameters(), lr=lr, betas=(0.5, 0.999))

    def step(x: tg.Tensor, keeper: training.Keeper) -> dict[str, float]:
        numbers = model.step(d_optimizer, g_optimizer, x)
        keeper.check(numbers["D loss"] + numbers["G loss"])
        return numbers | {"lr": lr}

    return {"d_optimizer": d_optimizer, "g_optimizer": g_optimizer}, step
