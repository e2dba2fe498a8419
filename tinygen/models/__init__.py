"""The models, one file per family: the mathematics, the class, the loss in nats, and the published number as a function.

    autoencoder        Autoencoder, LinearAutoencoder, TiedAutoencoder
    conv_autoencoder   ConvAutoencoder
    vae                BernoulliVAE, GaussianVAE
    conv_vae           ConvVAE
    gan                GAN
    dcgan              DCGAN
    realnvp            RealNVP, NICE
    classifier         Classifier and ConvClassifier, which measure what the others generate

Losses are summed over pixels and latents and averaged over the batch (ConvAutoencoder's is a mean over pixels too).  Every file ends in `reproduce(...)`, which trains
on real data and returns a `Result`: `tinygen.models.vae.reproduce()`.
"""

from tinygen.models import autoencoder, classifier, conv_autoencoder, conv_vae, dcgan, gan, realnvp, vae
from tinygen.models.autoencoder import Autoencoder, LinearAutoencoder, TiedAutoencoder
from tinygen.models.classifier import Classifier, ConvClassifier
from tinygen.models.conv_autoencoder import ConvAutoencoder
from tinygen.models.conv_vae import ConvVAE
from tinygen.models.dcgan import DCGAN, ConvDiscriminator, ConvGenerator
from tinygen.models.gan import GAN, Discriminator, Generator
from tinygen.models.realnvp import NICE, RealNVP
from tinygen.models.result import Result
from tinygen.models.vae import BernoulliVAE, GaussianVAE

__all__ = [
    "Autoencoder",
    "LinearAutoencoder",
    "TiedAutoencoder",
    "ConvAutoencoder",
    "BernoulliVAE",
    "GaussianVAE",
    "ConvVAE",
    "GAN",
    "Generator",
    "Discriminator",
    "DCGAN",
    "ConvGenerator",
    "ConvDiscriminator",
    "RealNVP",
    "NICE",
    "Classifier",
    "ConvClassifier",
    "Result",
]
