"""Figures of the tables: Plotly for the screen, Matplotlib and seaborn for paper."""

from analysis.figures.export import figure_bytes, save_figure
from analysis.figures.paper import feature_reuse_figure

__all__ = ["feature_reuse_figure", "figure_bytes", "save_figure"]
