"""The convolutional autoencoder: deck D4's sizes and parameters, which images it takes, its codes and their density."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import evaluate, nn
from tinygen.errors import ShapeError
from tinygen.models import ConvAutoencoder
from tinygen.models.conv_autoencoder import LAYERS, conv_encoder, in_batches, sizes, squared_error

SMALL = ((3, 3, 2), (2, 2, 1))  # 7 -> 3 -> 2 -> 1: seconds become milliseconds


def small(code=2):
    return ConvAutoencoder(code, (1, 7, 7), SMALL).double()


def images(n, *shape, seed=0):
    return tg.tensor(np.random.default_rng(seed).random((n, *(shape or (1, 7, 7)))))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_the_deck_network_has_112457_parameters_for_a_code_of_8():
    assert parameters(ConvAutoencoder()) == 112_457
    # one number more in the code costs a 32×4×4 kernel in the encoder with its bias, and one in the decoder
    for code in (16, 32):
        assert parameters(ConvAutoencoder(code)) == 112_457 + (code - 8) * (2 * 32 * 16 + 1)


def test_the_sizes_are_the_decks():
    model, x, seen = ConvAutoencoder(), tg.rand(2, 1, 28, 28), []
    for layer in (*model.encoder, *model.decoder):
        x = layer(x)
        if not isinstance(layer, nn.ReLU):
            seen.append(tuple(x.shape[1:]))
    there = [(32, 24, 24), (32, 20, 20), (32, 9, 9), (32, 4, 4), (8, 1, 1)]
    assert seen == [*there, *there[-2::-1], (1, 28, 28)]
    assert sizes(28) == [28, 24, 20, 9, 4]


def test_codes_are_rows_and_batches_may_be_empty():
    model = ConvAutoencoder(8)
    for n in (0, 1, 3):
        h, out = model(tg.rand(n, 1, 28, 28))
        assert h.shape == (n, 8) and out.shape == (n, 1, 28, 28)


@pytest.mark.parametrize("image", [(3, 16, 16), (1, 32, 20), (2, 28, 44)])
def test_other_images(image):
    model = ConvAutoencoder(5, image)
    h, out = model(tg.rand(2, *image))
    assert h.shape == (2, 5) and out.shape == (2, *image)


@pytest.mark.parametrize("layers", [LAYERS, SMALL, (), ((2, 3, 3), (2, 2, 2))])
def test_exactly_those_sizes_are_taken_that_come_back(layers):
    """The oracle: PyTorch's size formulas, forth with rounding down, and back."""
    for size in range(1, 60):
        there, fits = [size], True
        for _, kernel, stride in layers:
            fits = fits and there[-1] >= kernel
            there.append((there[-1] - kernel) // stride + 1)
        back = there[-1]
        for _, kernel, stride in reversed(layers):
            back = (back - 1) * stride + kernel
        if fits and back == size:
            assert sizes(size, layers) == there
        else:
            with pytest.raises(ValueError, match="do not come back"):
                sizes(size, layers)


def test_a_size_that_does_not_fit_is_told_which_ones_do():
    with pytest.raises(ValueError, match=r"size 30 .*convolution 4 would take 10 .*\n.*: 24, 28, 32, 36"):
        ConvAutoencoder(8, (1, 30, 28), LAYERS)
    with pytest.raises(ValueError, match=r"size 8 .*\n.*: 16, 20"):
        ConvAutoencoder(8, (1, 28, 8), LAYERS)
    with pytest.raises(ValueError, match=r"\(channels, height, width\) is expected, got \(28, 28\)"):
        conv_encoder((28, 28), 8)


@pytest.mark.parametrize("shape", [(2, 784), (2, 28, 28), (2, 3, 28, 28), (2, 1, 28, 32)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"\(batch, 1, 28, 28\) are expected"):
        ConvAutoencoder()(tg.zeros(shape))


def test_loss_is_the_mean_over_pixels_and_batch():
    model, x, target = small(), images(3), images(3, seed=1)
    out = model.reconstruct(x).numpy()
    np.testing.assert_allclose(model.loss(x).item(), ((out - x.numpy()) ** 2).mean())
    np.testing.assert_allclose(model.loss(x, target).item(), ((out - target.numpy()) ** 2).mean())
    # per image, it is what evaluate measures
    np.testing.assert_allclose(49 * model.loss(x).item(), squared_error(model, x.numpy()))


def test_pca_is_a_stationary_point_without_hidden_layers():
    """Then both halves are linear maps of the whole image.  Its mean is 0: the decoder's bias is one number for all pixels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 9)) @ rng.standard_normal((9, 9))
    x -= x.mean(0)
    pca = evaluate.PCA.fit(x, 2)
    model = ConvAutoencoder(2, (1, 3, 3), ()).double()
    with tg.no_grad():
        for half in (model.encoder, model.decoder):
            half[0].weight.copy_(pca.components.reshape(2, 1, 3, 3))
            half[0].bias.zero_()
    loss = model.loss(tg.tensor(x.reshape(-1, 1, 3, 3)))
    loss.backward()
    np.testing.assert_allclose(9 * loss.item(), evaluate.squared_error(pca.reconstruct, x), rtol=1e-9)
    for p in model.parameters():
        np.testing.assert_allclose(p.grad.numpy(), 0, atol=1e-9)


def test_interpolation_is_a_straight_line_of_codes():
    model, x, y = small(), images(3), images(3, seed=1)
    path = model.interpolate(x, y, [0, 0.25, 1])
    assert path.shape == (3, 3, 1, 7, 7) and not path.requires_grad
    np.testing.assert_allclose(path[:, 0].numpy(), model.reconstruct(x).numpy(), atol=1e-12)
    np.testing.assert_allclose(path[:, 2].numpy(), model.reconstruct(y).numpy(), atol=1e-12)
    with tg.no_grad():
        quarter = model.decode(0.75 * model.encode(x) + 0.25 * model.encode(y))
    np.testing.assert_allclose(path[:, 1].numpy(), quarter.numpy(), atol=1e-12)


def test_the_density_is_the_gaussian_of_the_codes(monkeypatch):
    model, x = small(), images(600)  # more than one batch of in_batches
    model.fit_density(x.numpy())
    codes = model.encode(x).detach().numpy()
    np.testing.assert_allclose(model.code_mean.numpy(), codes.mean(0), rtol=1e-12)
    np.testing.assert_allclose(model.code_std.numpy(), codes.std(0), rtol=1e-9)

    with tg.no_grad():  # far from N(0, I)
        model.code_mean.copy_(np.array([3.0, -1.0]))
        model.code_std.copy_(np.array([0.5, 2.0]))
    drawn = []
    monkeypatch.setattr(model, "decode", lambda h: drawn.append(h) or h)
    n = 20_000
    model.sample(n)
    h = tg.cat(drawn).numpy()
    error = np.array([0.5, 2.0]) / math.sqrt(n)
    assert (abs(h.mean(0) - [3, -1]) < 5 * error).all()
    assert (abs(h.std(0) - [0.5, 2]) < 5 * error / math.sqrt(2)).all()
    assert abs(np.corrcoef(h.T)[0, 1]) < 5 / math.sqrt(n)


def test_samples_are_images_and_need_a_density():
    model = small()
    with pytest.raises(RuntimeError, match=r"ConvAutoencoder.sample: .*fit_density"):
        model.sample(2)
    model.fit_density(images(5))
    assert model.sample(4).shape == (4, 1, 7, 7) and not model.sample(4).requires_grad


def test_the_density_is_saved_with_the_model():
    model, other = small(), small()
    model.fit_density(images(5))
    other.load_state_dict(model.state_dict())
    tg.manual_seed(3)
    drawn = model.sample(3)
    tg.manual_seed(3)
    assert other.sample(3).equal(drawn)


def test_in_batches_changes_nothing():
    model, x = small(), images(7)
    like = model.code_mean
    assert in_batches(model.encode, x, like, size=3).allclose(model.encode(x), rtol=1e-12)
    assert in_batches(model.encode, x.numpy(), like, size=3).allclose(model.encode(x), rtol=1e-12)


def test_a_state_dict_of_the_listing_in_pytorch_loads():
    torch = pytest.importorskip("torch")
    table = [(1, 32, 5, 1), (32, 32, 5, 1), (32, 32, 4, 2), (32, 32, 3, 2), (32, 8, 4, 1)]
    layers = [torch.nn.Conv2d(*row) for row in table]
    mirror = [torch.nn.ConvTranspose2d(n_out, n_in, k, s) for n_in, n_out, k, s in reversed(table)]
    halves = [
        torch.nn.Sequential(*[part for layer in half for part in (layer, torch.nn.ReLU())][:-1])
        for half in (layers, mirror)
    ]
    theirs = torch.nn.ModuleDict({"encoder": halves[0], "decoder": halves[1]}).double()
    ours = ConvAutoencoder(8).double()
    state = {name: tg.tensor(value.numpy()) for name, value in theirs.state_dict().items()}
    missing, unexpected = ours.load_state_dict(state, strict=False)
    assert sorted(missing) == ["code_mean", "code_std"] and not unexpected
    x = images(2, 1, 28, 28)
    expected = theirs["decoder"](theirs["encoder"](torch.tensor(x.numpy())))
    loss = torch.nn.functional.mse_loss(expected, torch.tensor(x.numpy()))
    loss.backward()
    ours.loss(x).backward()
    np.testing.assert_allclose(ours.reconstruct(x).numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-7, atol=1e-12, err_msg=name)
