from .ablation import connection_ablation
from .claims import check_claims
from .comparison import compare
from .connections import connection_filter, connection_weights
from .cost import count_cost, total_cost
from .effects import connection_effects
from .efficiency import pareto_front, parity
from .figures.export import save_figure
from .figures.paper import feature_reuse_figure
from .measures import measure_reuse
from .memory import training_activation_bytes
from .observations import figure5_observations
from .paths import layer_paths, path_counts
from .pruning import prune, pruning_curves
from .results import measured_results, published_results, shipped_results
from .scaling import scaled, target_share
from .short_paths import carried_shares, direct_connections, fractal_connections, supervision, transform_gates

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
