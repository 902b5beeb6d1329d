"""The Prediction page: what each layer adds to a decision on one image."""

from __future__ import annotations

from app.dashboard.language import t
from app.dashboard.views.prediction.choosing import choose_image
from app.dashboard.widgets.network_picker import open_page


def show() -> None:
    """Draw the page."""
    key = open_page(t("prediction.heading"), must_be_dense=False)
    if key is None:
        return
    chosen = choose_image(key)
    if chosen is None:  # the page says what to do
        return
    from app.dashboard.views.prediction.overview import show_prediction

    show_prediction(key, chosen)
