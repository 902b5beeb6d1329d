"""Measures of a trained DenseNet as tidy tables, and their figures."""
