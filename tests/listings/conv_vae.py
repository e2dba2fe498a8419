# ruff: noqa
# C9: a convolutional VAE with a fixed decoder variance.  Given: train_input, images (N, 1, 28, 28); latent_dim; nb_steps.
import math

import torch
from torch import nn, optim
from torch.nn import functional as F


class VariationalAutoEncoder(nn.Module):
    def __init__(self, latent_dim):
        super(VariationalAutoEncoder, self).__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=5),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, kernel_size=5),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, kernel_size=3, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 2 * latent_dim, kernel_size=4),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(latent_dim, 32, kernel_size=4),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, 32, kernel_size=3, stride=2),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, 32, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, 32, kernel_size=5),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, 1, kernel_size=5),
        )

    def encode(self, x):
        output = self.encoder(x).view(x.size(0), 2, -1)
        mu, logvar = output[:, 0], output[:, 1]
        return mu, logvar + math.log(0.01)

    def decode(self, z):
        return self.decoder(z.view(z.size(0), -1, 1, 1))


def objective(model, x, noise):
    mu, logvar = model.encode(x)
    z = noise * torch.exp(0.5 * logvar) + mu
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())
    return F.mse_loss(model.decode(z), x) + 0.5 * kl.mean()


torch.manual_seed(0)
mean, std = train_input.mean(), train_input.std()
train_input = (train_input - mean) / std

model = VariationalAutoEncoder(latent_dim)
optimizer = optim.Adam(model.parameters(), lr=1e-3)
losses = []
for step in range(nb_steps):
    for input in train_input.split(25):
        loss = objective(model, input, torch.empty(input.size(0), latent_dim).normal_())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

with torch.no_grad():
    output = model.decode(model.encode(train_input)[0])
    synth = model.decode(torch.empty(16, latent_dim).normal_())
