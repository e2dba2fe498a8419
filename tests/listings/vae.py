# ruff: noqa
# C1, C2, C4: a Bernoulli variational autoencoder.  Given: train_input, images in rows, between 0 and 1.
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


class VAE(nn.Module):
    def __init__(self, n_inputs, n_latent):
        super().__init__()
        self.fc1 = nn.Linear(n_inputs, 400)
        self.fc_mu = nn.Linear(400, n_latent)
        self.fc_log_var = nn.Linear(400, n_latent)
        self.fc3 = nn.Linear(n_latent, 400)
        self.fc4 = nn.Linear(400, n_inputs)

    def encoder(self, x):
        h = F.relu(self.fc1(x))
        return self.fc_mu(h), self.fc_log_var(h)

    def sampling(self, mu, log_var):
        if self.training:
            std = log_var.mul(0.5).exp_()
            eps = torch.empty_like(std).normal_()
            return eps.mul(std).add_(mu)
        return mu

    def decoder(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, log_var = self.encoder(x.view(x.size(0), -1))
        z = self.sampling(mu, log_var)
        return self.decoder(z), mu, log_var


def loss_function(recon_x, x, mu, log_var):
    BCE = F.binary_cross_entropy(recon_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
    return BCE, KLD


torch.manual_seed(0)
vae = VAE(train_input.size(1), 10)
optimizer = optim.Adam(vae.parameters())
history = []

vae.train()
for epoch in range(3):
    for batch in train_input.split(100):
        optimizer.zero_grad()
        recon, mu, log_var = vae(batch)
        BCE, KLD = loss_function(recon, batch, mu, log_var)
        loss = BCE + KLD
        loss.backward()
        optimizer.step()
        history.append(loss.item() / len(batch))

vae.eval()
with torch.no_grad():
    sample = vae.decoder(torch.randn(64, 10)).view(64, 1, 8, 8)
    first, second = vae(train_input[:5])[0], vae(train_input[:5])[0]
