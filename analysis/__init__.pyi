from .architecture.comparison import compare
from .architecture.cost import count_cost, total_cost
from .architecture.gates import carried_shares, transform_gates
from .architecture.memory import training_activation_bytes
from .architecture.paths import layer_paths, path_counts
from .architecture.short_paths import direct_connections, fractal_connections, supervision
from .claims.claims import check_claims
from .claims.figure_5 import figure5_observations
from .figures.export import save_figure
from .figures.figure_5 import feature_reuse_figure
from .prediction.by_class import cluster_classes, confusion_pairs, reuse_by_class
from .prediction.decision import decision_connections, strongest_paths
from .prediction.explain import explain_image
from .prediction.feature_maps import driving_images, first_filters, layer_maps, read_maps
from .prediction.lens import image_lens, lens_by_depth, pooled_parts
from .prediction.logits import contrast, logit_contributions, mean_contributions
from .prediction.maps import class_activation_maps, grad_cam
from .prediction.probes import linear_probes
from .prediction.similarity import layer_similarity
from .results.efficiency import pareto_front, parity
from .results.results import measured_results, published_results, shipped_results
from .reuse.ablation import connection_ablation
from .reuse.connections import connection_filter, connection_weights
from .reuse.effects import connection_effects
from .reuse.measuring import measure_reuse
from .reuse.pruning import prune, pruning_curves
from .reuse.scaling import scale_measure, target_share
from .reuse.untrained import build_untrained

__all__ = [
    "build_untrained",
    "carried_shares",
    "check_claims",
    "class_activation_maps",
    "cluster_classes",
    "compare",
    "confusion_pairs",
    "connection_ablation",
    "connection_effects",
    "connection_filter",
    "connection_weights",
    "contrast",
    "count_cost",
    "decision_connections",
    "direct_connections",
    "driving_images",
    "explain_image",
    "feature_reuse_figure",
    "figure5_observations",
    "first_filters",
    "fractal_connections",
    "grad_cam",
    "image_lens",
    "layer_maps",
    "layer_paths",
    "layer_similarity",
    "lens_by_depth",
    "linear_probes",
    "logit_contributions",
    "mean_contributions",
    "measure_reuse",
    "measured_results",
    "pareto_front",
    "parity",
    "path_counts",
    "pooled_parts",
    "prune",
    "pruning_curves",
    "published_results",
    "read_maps",
    "reuse_by_class",
    "save_figure",
    "scale_measure",
    "shipped_results",
    "strongest_paths",
    "supervision",
    "target_share",
    "total_cost",
    "training_activation_bytes",
    "transform_gates",
]
