"""The scale of the error axis."""

from __future__ import annotations

import pandas as pd

MAX_RATIO = 5.0  # of the largest error to the median on a linear axis


def needs_log_error(errors: pd.Series) -> bool:
    """Return whether a few large errors would flatten all others on a linear axis, so that it is logarithmic.

    >>> needs_log_error(pd.Series([0.5, 1.0, 1.2, 20.0])), needs_log_error(pd.Series([22.0, 25.0, 30.0]))
    (True, False)
    """
    return len(errors) > 0 and bool(errors.min() > 0 and errors.max() > MAX_RATIO * errors.median())
