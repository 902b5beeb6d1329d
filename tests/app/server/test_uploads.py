"""What is left of an upload after its session: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.dashboard import loading
from densenet_core import Checkpoint
from tests.analysis.reuse.test_effects import some_images

PAGE = """
import streamlit as st
from app.dashboard import loading
from app.dashboard.keys import ImagesKey, NetworkKey
key = NetworkKey(st.session_state.origin, "0123456789abcdef")
loading.measured_table(key, ("ablation",), ImagesKey("digits", "", None, 4))
"""


def test_sums_of_an_ablation_stay_on_disk_for_a_file_and_not_for_an_upload(
    small_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "load", lambda key: small_checkpoint)
    monkeypatch.setattr(loading, "load_images", lambda key: some_images(4))
    for origin, kept in (("upload", 0), ("file", 1)):
        app = AppTest.from_string(PAGE, default_timeout=240)
        app.session_state["origin"] = origin
        assert not app.run().exception
        assert len(list(tmp_path.rglob("*.npz"))) == kept, origin
