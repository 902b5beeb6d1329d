"""Measures of trained networks as tidy tables, and their figures."""

from analysis.comparison import compare
from analysis.connections import connection_filter, connection_weights
from analysis.cost import count_cost, total_cost
from analysis.efficiency import pareto_front, parity
from analysis.figures import feature_reuse_figure, save_figure
from analysis.memory import training_activation_bytes
from analysis.observations import figure5_observations
from analysis.results import measured_results, published_results, shipped_results
from analysis.scaling import scaled, target_share

__all__ = [
    "compare",
    "connection_filter",
    "connection_weights",
    "count_cost",
    "feature_reuse_figure",
    "figure5_observations",
    "measured_results",
    "pareto_front",
    "parity",
    "published_results",
    "save_figure",
    "scaled",
    "shipped_results",
    "target_share",
    "total_cost",
    "training_activation_bytes",
]
