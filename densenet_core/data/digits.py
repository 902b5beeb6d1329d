"""scikit-learn's handwritten digits, without the time that importing ``sklearn.datasets`` takes: as long as torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np


def read_digits() -> np.ndarray:
    """Return a row for each of the 1,797 digits: 8x8 pixels from 0 to 16, and its class."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # for a version that keeps the file elsewhere

    source = load_digits()
    return np.column_stack([source.data, source.target])
