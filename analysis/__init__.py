"""Measures of a trained DenseNet as tidy tables, and their figures."""

from analysis.connections import connection_filter, connection_weights
from analysis.figures import feature_reuse_figure, save_figure
from analysis.observations import figure5_observations
from analysis.scaling import scaled, target_share

__all__ = [
    "connection_filter",
    "connection_weights",
    "feature_reuse_figure",
    "figure5_observations",
    "save_figure",
    "scaled",
    "target_share",
]
