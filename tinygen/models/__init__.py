"""The models, one file per family: the mathematics, the class, the loss in nats, and the published number as a function.

    autoencoder        Autoencoder, LinearAutoencoder, TiedAutoencoder
    conv_autoencoder   ConvAutoencoder
    vae                BernoulliVAE, GaussianVAE
    iwae               IWAE
    conv_vae           ConvVAE
    gan                GAN
    dcgan              DCGAN
    flow               Flow, ImageFlow: a density through an invertible map
    realnvp            RealNVP
    nice               NICE, ImageNICE
    image_realnvp      ImageRealNVP, Glow
    classifier         Classifier and ConvClassifier, which measure what the others generate
    comparison         samples of three models under every score

Losses are summed over pixels and latents and averaged over the batch (ConvAutoencoder's is a mean over pixels too).  Every file ends in `reproduce(...)`, which trains
on real data and returns a `Result`: `tinygen.models.vae.reproduce()`.
"""

from tinygen.models import (
    autoencoder,
    classifier,
    comparison,
    conv_autoencoder,
    conv_vae,
    dcgan,
    flow,
    gan,
    image_realnvp,
    iwae,
    nice,
    realnvp,
    vae,
)
from tinygen.models.autoencoder import Autoencoder, LinearAutoencoder, TiedAutoencoder
from tinygen.models.classifier import Classifier, ConvClassifier
from tinygen.models.conv_autoencoder import ConvAutoencoder
from tinygen.models.conv_vae import ConvVAE
from tinygen.models.dcgan import DCGAN, ConvDiscriminator, ConvGenerator
from tinygen.models.flow import Flow, ImageFlow
from tinygen.models.gan import GAN, Discriminator, Generator
from tinygen.models.image_realnvp import Glow, ImageRealNVP
from tinygen.models.iwae import IWAE
from tinygen.models.model import Model, rebuild
from tinygen.models.nice import NICE, ImageNICE
from tinygen.models.realnvp import RealNVP
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
    "IWAE",
    "GAN",
    "Generator",
    "Discriminator",
    "DCGAN",
    "ConvGenerator",
    "ConvDiscriminator",
    "Flow",
    "ImageFlow",
    "RealNVP",
    "NICE",
    "ImageNICE",
    "ImageRealNVP",
    "Glow",
    "Classifier",
    "ConvClassifier",
    "Model",
    "rebuild",
    "Result",
]
