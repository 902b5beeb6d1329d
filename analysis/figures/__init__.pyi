from .export import figure_bytes, save_figure
from .figure_5 import feature_reuse_figure

__all__ = ["feature_reuse_figure", "figure_bytes", "save_figure"]
