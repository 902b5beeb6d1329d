"""Figures of a training: curves of loss and error, how feature reuse emerges, and its animation."""
