"""Measures of trained networks as tidy tables, and their figures."""

from analysis.ablation import connection_ablation
from analysis.claims import check_claims
from analysis.comparison import compare
from analysis.connections import connection_filter, connection_weights
from analysis.cost import count_cost, total_cost
from analysis.effects import connection_effects
from analysis.efficiency import pareto_front, parity
from analysis.figures import feature_reuse_figure, save_figure
from analysis.measures import measure_reuse
from analysis.memory import training_activation_bytes
from analysis.observations import figure5_observations
from analysis.paths import layer_paths, path_counts
from analysis.pruning import prune, pruning_curves
from analysis.results import measured_results, published_results, shipped_results
from analysis.scaling import scaled, target_share
from analysis.short_paths import carried_shares, direct_connections, fractal_connections, supervision, transform_gates

__all__ = [
    "carried_shares",
    "check_claims",
    "compare",
    "connection_ablation",
    "connection_effects",
    "connection_filter",
    "connection_weights",
    "count_cost",
    "direct_connections",
    "feature_reuse_figure",
    "figure5_observations",
    "fractal_connections",
    "layer_paths",
    "measure_reuse",
    "measured_results",
    "pareto_front",
    "parity",
    "path_counts",
    "prune",
    "pruning_curves",
    "published_results",
    "save_figure",
    "scaled",
    "shipped_results",
    "supervision",
    "target_share",
    "total_cost",
    "training_activation_bytes",
    "transform_gates",
]
