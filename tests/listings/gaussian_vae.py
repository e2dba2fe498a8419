# ruff: noqa
# C8: a VAE whose encoder and decoder are Gaussians with learned variances, on two moons.  Given: folder.
import math

import torch
from torch import nn, optim

torch.manual_seed(0)


def two_moons(nb):
    angle = torch.empty(nb).uniform_(0, math.pi)
    moon = torch.empty(nb).bernoulli_(0.5)
    x = torch.empty(nb, 2)
    x[:, 0] = angle.cos() * (1 - 2 * moon) + moon
    x[:, 1] = angle.sin() * (1 - 2 * moon) + 0.5 * moon
    return x + torch.empty(nb, 2).normal_(0, 0.05)


def save(tensor, name):
    with open(folder / name, "w") as f:
        for row in tensor.tolist():
            f.write(" ".join("{:f}".format(v) for v in row) + "\n")


class GaussianVAE(nn.Module):
    def __init__(self, dim_x, dim_z, dim_hidden=100):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(dim_x, dim_hidden), nn.ReLU(), nn.Linear(dim_hidden, 2 * dim_z))
        self.decoder = nn.Sequential(nn.Linear(dim_z, dim_hidden), nn.ReLU(), nn.Linear(dim_hidden, 2 * dim_x))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z).chunk(2, dim=1)


def draw(mu, log_var):
    return mu + torch.exp(0.5 * log_var) * torch.randn(mu.size())


def log_gaussian(x, mu, log_var):
    return -0.5 * (math.log(2 * math.pi) + log_var + (x - mu).pow(2) / log_var.exp()).sum(1)


def kl_to_prior(mu, log_var):
    return -0.5 * (1 + log_var - mu.pow(2) - log_var.exp()).sum(1)


dim, nb, nb_epochs, batch_size = 2, 250, 10, 10

train_input = two_moons(nb)
mean, std = train_input.mean(0), train_input.std()
train_input.sub_(mean).div_(std)

model = GaussianVAE(dim, dim)
optimizer = optim.Adam(model.parameters(), lr=1e-2)
losses = []

for n in range(nb_epochs):
    acc_loss = 0.0
    order = torch.randperm(nb)
    for indices in order.split(batch_size):
        x = train_input[indices]
        mu_f, log_var_f = model.encode(x)
        mu_g, log_var_g = model.decode(draw(mu_f, log_var_f))
        loss = (kl_to_prior(mu_f, log_var_f) - log_gaussian(x, mu_g, log_var_g)).mean()

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        acc_loss = acc_loss + loss.detach() * x.size(0)
    losses.append(acc_loss.item() / nb)

with torch.no_grad():
    mu, log_var = model.decode(torch.zeros(1000, dim).normal_())
    synth = draw(mu, log_var) * std + mean

save(train_input * std + mean, "toy-vae-train.dat")
save(synth, "toy-vae-synth.dat")
