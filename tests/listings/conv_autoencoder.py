# ruff: noqa
# B12, B13: a convolutional autoencoder.  Given: train_input, images (N, 1, 28, 28); embedding_dim; nb_steps.
import torch
from torch import nn, optim
from torch.nn import functional as F


class AutoEncoder(nn.Module):
    def __init__(self, embedding_dim):
        super(AutoEncoder, self).__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=5),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, kernel_size=5),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, kernel_size=4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, kernel_size=3, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, embedding_dim, kernel_size=4),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(embedding_dim, 32, kernel_size=4),
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
        return self.encoder(x).view(x.size(0), -1)

    def decode(self, z):
        return self.decoder(z.view(z.size(0), -1, 1, 1))

    def forward(self, x):
        return self.decoder(self.encoder(x))


torch.manual_seed(0)
model = AutoEncoder(embedding_dim)
optimizer = optim.Adam(model.parameters(), lr=1e-3)
sizes = [tuple(train_input[:1].size())]
z = train_input[:1]
for layer in list(model.encoder) + list(model.decoder):
    z = layer(z)
    if not isinstance(layer, nn.ReLU):
        sizes.append(tuple(z.size()))

losses = []
for step in range(nb_steps):
    for input in train_input.split(25):
        output = model(input)
        loss = F.mse_loss(output, input)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

# a Gaussian with a diagonal covariance on the codes, and a walk between two of them
with torch.no_grad():
    z = model.encode(train_input)
    mu, std = z.mean(0), z.std(0)
    synth = model.decode(torch.empty(16, embedding_dim).normal_() * std + mu)
    alpha = torch.linspace(0, 1, 5).view(-1, 1)
    walk = model.decode((1 - alpha) * z[:1] + alpha * z[1:2])
