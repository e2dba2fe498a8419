"""Numbers about trained models, and the trivial models to stand beside them.

A number means little alone.  Every function here says its unit, which direction is better, what the best possible value
is (the floor, or for a score the ceiling), and which trivial model has to be beaten (the baseline).

    reconstruction  squared_error                 squared grey levels per image        lower
                    variance                      the same, of a code without numbers  baseline
                    PCA                           the best linear code                 baseline
                    principal_angles              degrees between subspaces            0: the same
    likelihood      negative_log_likelihood       nats per image                       lower
                    bits_per_dim                  bits per dimension                   lower
                    bits_to_nats                  nats per image                       lower
                    histogram_bits                bits per dimension                   baseline
                    gaussian_nll                  nats per point                       baseline
                    bernoulli_nll                 nats per image                       baseline
                    bernoulli_entropy             nats per image                       floor
    bounds          elbo                          nats per image                       higher
                    importance_weighted_bound(s)  nats per image                       higher
                    importance_sampled_nll        nats per image                       lower
    samples         parzen, ParzenWindow          nats per image                       higher
                    class_shares                  share of each class                  the smallest: higher
                    independent_pixels            images                               baseline
    features        frechet_distance              squared units of the features        lower
                    precision_recall              shares, from 0 to 1                  higher, both together
                    FeatureDistance               frechet_distance to test images      lower
                    FeatureMetrics                that, and precision and recall
    sample_metrics  SampleMetrics                 samples and features, all at once
    points          modes_covered                 modes, and a share from 0 to 1       higher, both together
                    wasserstein                   that of the coordinates              lower

Arguments are NumPy arrays of float32, or Tensors of any device; the arithmetic is NumPy's.
"""

from tinygen.evaluate.bounds import (
    Bound,
    LatentVariableModel,
    SampledNLL,
    elbo,
    importance_sampled_nll,
    importance_weighted_bound,
    importance_weighted_bounds,
)
from tinygen.evaluate.features import (
    FeatureDistance,
    FeatureMetrics,
    FeatureScores,
    PrecisionRecall,
    frechet_distance,
    precision_recall,
)
from tinygen.evaluate.likelihood import (
    Estimate,
    bernoulli_entropy,
    bernoulli_nll,
    bits_per_dim,
    bits_to_nats,
    gaussian_nll,
    histogram_bits,
    negative_log_likelihood,
)
from tinygen.evaluate.points import ModeCoverage, modes_covered, wasserstein
from tinygen.evaluate.reconstruction import PCA, principal_angles, squared_error, variance
from tinygen.evaluate.sample_metrics import MEASURES, Measure, SampleMetrics, SampleScores
from tinygen.evaluate.samples import Parzen, ParzenWindow, class_shares, independent_pixels, parzen

__all__ = [
    # reconstruction
    "squared_error",
    "variance",
    "PCA",
    "principal_angles",
    # likelihood
    "negative_log_likelihood",
    "Estimate",
    "bits_per_dim",
    "bits_to_nats",
    "histogram_bits",
    "gaussian_nll",
    "bernoulli_nll",
    "bernoulli_entropy",
    # bounds
    "LatentVariableModel",
    "elbo",
    "importance_weighted_bound",
    "importance_weighted_bounds",
    "Bound",
    "importance_sampled_nll",
    "SampledNLL",
    # samples
    "parzen",
    "Parzen",
    "ParzenWindow",
    "class_shares",
    "independent_pixels",
    # features
    "frechet_distance",
    "precision_recall",
    "PrecisionRecall",
    "FeatureDistance",
    "FeatureMetrics",
    "FeatureScores",
    # all scores for samples at once
    "SampleMetrics",
    "SampleScores",
    "Measure",
    "MEASURES",
    # points
    "modes_covered",
    "ModeCoverage",
    "wasserstein",
]
