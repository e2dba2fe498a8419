# ruff: noqa
# D5, D6: a generative adversarial network.  Given: train_input, images in rows, between -1 and 1.
import torch
from torch import nn, optim
import torch.nn.functional as F


class Generator(nn.Module):
    def __init__(self, z_dim, out_dim):
        super(Generator, self).__init__()
        self.fc1 = nn.Linear(z_dim, 256)
        self.fc2 = nn.Linear(self.fc1.out_features, self.fc1.out_features * 2)
        self.fc3 = nn.Linear(self.fc2.out_features, self.fc2.out_features * 2)
        self.fc4 = nn.Linear(self.fc3.out_features, out_dim)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))
        return torch.tanh(self.fc4(x))


class Discriminator(nn.Module):
    def __init__(self, in_dim):
        super(Discriminator, self).__init__()
        self.fc1 = nn.Linear(in_dim, 1024)
        self.fc2 = nn.Linear(self.fc1.out_features, self.fc1.out_features // 2)
        self.fc3 = nn.Linear(self.fc2.out_features, self.fc2.out_features // 2)
        self.fc4 = nn.Linear(self.fc3.out_features, 1)

    def forward(self, x):
        x = F.dropout(F.relu(self.fc1(x)), 0.3)
        x = F.dropout(F.relu(self.fc2(x)), 0.3)
        x = F.dropout(F.relu(self.fc3(x)), 0.3)
        return torch.sigmoid(self.fc4(x))


torch.manual_seed(0)
z_dim, batch_size = 100, 100
G, D = Generator(z_dim, train_input.size(1)), Discriminator(train_input.size(1))
criterion = nn.BCELoss()
lr = 0.0002
G_optimizer = optim.Adam(G.parameters(), lr=lr)
D_optimizer = optim.Adam(D.parameters(), lr=lr)


def train_discriminator(x):
    D.zero_grad()
    n = x.size(0)
    x_real, y_real = x.view(n, -1), torch.ones(n, 1)
    x_fake, y_fake = G(torch.randn(n, z_dim)), torch.zeros(n, 1)
    D_real_score, D_fake_score = D(x_real), D(x_fake)
    D_loss = criterion(D_real_score, y_real) + criterion(D_fake_score, y_fake)
    D_loss.backward()
    D_optimizer.step()
    return D_loss.data.item(), D_real_score.mean().item(), D_fake_score.mean().item()


def train_generator(n):
    G.zero_grad()
    D_output = D(G(torch.randn(n, z_dim)))
    G_loss = criterion(D_output, torch.ones(n, 1))
    G_loss.backward()
    G_optimizer.step()
    return G_loss.data.item()


D_losses, G_losses, real_scores, fake_scores = [], [], [], []
for batch_idx in range(12):
    x = train_input[batch_idx * batch_size : (batch_idx + 1) * batch_size]
    d_loss, real, fake = train_discriminator(x)
    D_losses.append(d_loss)
    real_scores.append(real)
    fake_scores.append(fake)
    G_losses.append(train_generator(x.size(0)))

with torch.no_grad():
    generated = G(torch.randn(8, z_dim))
