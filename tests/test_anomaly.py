"""Anomaly detection: the first operator that goes wrong, by name, place and line; silence for everything else."""

from pathlib import Path

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.autograd import AnomalyError, detect_anomaly
from tinygen.backend import to_device
from tinygen.engine import Op

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own words for log 0


class CarelessVAE(nn.Module):
    """Its loss takes the logarithm of a probability, which is 0 as soon as a logit is large: the planted mistake."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.decoder = nn.Linear(2, 6)

    def loss(self, x):
        mu, logvar = self.encoder(x).chunk(2, 1)
        z = mu + (0.5 * logvar).exp() * tg.randn_like(mu)
        p = self.decoder(z).sigmoid()
        likelihood = x * p.log()
        likelihood = likelihood + (1 - x) * (1 - p).log()  # the line
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
        return (kl - likelihood.sum(1)).mean()


def test_a_log_of_zero_inside_a_vae_is_found_in_one_run():
    model = CarelessVAE()
    with tg.no_grad():
        model.decoder.bias[4] = 50.0  # sigmoid(50) is 1 in float32
    x = tg.ones(3, 6)
    assert np.isnan(model.loss(x).item()), "without detection the loss is a NaN from nowhere"
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        model.loss(x).backward()
    message = str(caught.value)
    source = Path(__file__).read_text("utf-8").splitlines()
    number = next(i for i, line in enumerate(source, 1) if line.endswith("# the line"))
    assert message.startswith("log made 3 infinities from finite numbers, in the forward pass")
    assert f"{__file__}:{number}" in message
    assert "float32 (3, 6) on cpu" in message and "smallest magnitude 0" in message
    assert "index (0, 4), where argument 1 is 0" in message


def test_a_rule_that_makes_an_infinity_is_found(device):
    x = tg.tensor([[4.0, 0.0]], requires_grad=True, device=device)
    for create_graph in (False, True):
        with pytest.raises(AnomalyError) as caught, detect_anomaly():
            x.sqrt().sum().backward(create_graph=create_graph)
        message = str(caught.value)
        assert message.startswith("the derivative of sqrt with respect to argument 1 made 1 infinity")
        assert "the operator was called at" in message and "test_anomaly.py" in message
        assert "lambda g, out, _x: g * 0.5 / out" in message
        assert "index (0, 1), where gradient in is 1, output is 0, argument 1 is 0" in message


def test_the_argument_is_named_when_a_tensor_is_used_twice():
    x = tg.tensor([2.0], requires_grad=True)
    twice = Op(lambda xp, x, y: x + y, lambda g, *_: g, lambda g, *_: g * 3e38 * 10, name="twice")
    with pytest.raises(AnomalyError, match="derivative of twice with respect to argument 2 made 1 infinity"):
        with detect_anomaly():
            twice(x, x).sum().backward()


def test_only_the_first_operator_is_blamed():
    x = tg.tensor([1.0, float("nan"), float("inf")], requires_grad=True)
    with detect_anomaly():
        y = (x * 2).exp().sum()  # they were there before
        with pytest.raises(AnomalyError, match=r"derivative of exp(.|\n)*the forward pass had left numbers"):
            y.backward()
    big = tg.tensor([1.0, 3e38], requires_grad=True)
    with pytest.raises(AnomalyError, match=r"^mul made 1 infinity from finite numbers"), detect_anomaly():
        (big * 10.0).log().sum()


def test_numbers_that_are_fine_pass_on_every_device(device):
    x = tg.tensor(to_device(np.array([[0.5, 2.0]]), tg.device(device)), requires_grad=True)
    with detect_anomaly():
        (g,) = tg.grad((x.log() * x).sum(), x, create_graph=True)
        g.sum().backward()
        tg.tensor([1, 0]) // tg.tensor([1, 2])
        tg.zeros(0, 3).sum()


def test_what_a_rule_masks_is_not_an_anomaly():
    masked = Op(lambda xp, x: x * 1, lambda g, out, x: tg.where(x == 0, 0.0, g / x), name="masked")
    x = tg.tensor([0.0, 2.0], requires_grad=True)
    with detect_anomaly():
        (g,) = tg.grad(masked(x).sum(), x, create_graph=True)  # g / x is infinite on the way, and not used
    assert g.tolist() == [0, 0.5]


def test_a_hook_is_watched_as_the_users_own_code():
    x = tg.tensor([1.0], requires_grad=True)
    x.register_hook(lambda g: (g - 1).log())
    with pytest.raises(AnomalyError, match=r"^log made 1 infinity.*test_anomaly.py"), detect_anomaly():
        (x * 1).sum().backward(create_graph=True)


def test_detection_ends_with_its_block():
    @detect_anomaly()
    def careless():
        return tg.zeros(1).log()

    for _ in range(2):
        with pytest.raises(AnomalyError):
            careless()
    with detect_anomaly():
        with detect_anomaly():
            pass
        with pytest.raises(AnomalyError):
            tg.zeros(1).log()
    assert tg.zeros(1).log().item() == -np.inf
