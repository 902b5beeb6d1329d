"""The dashboard: `streamlit run app/main.py`, with folders to serve after `--`: `-- --root DIR --root DIR`."""

from functools import partial
from importlib import import_module

import streamlit as st

from app.dashboard.language import choose_language, t
from app.dashboard.warm_up import import_soon

PAGES = {  # a module of app.dashboard.views -> its address and icon; the first is the app's root, without address
    "start": ("start", "home"),
    "feature_reuse": ("reuse", "grid_on"),
    "agreement": ("agreement", "scatter_plot"),
    "claims": ("claims", "fact_check"),
    "gradient_flow": ("gradients", "show_chart"),
    "pruning": ("pruning", "content_cut"),
    "efficiency": ("efficiency", "monitoring"),
    "comparison": ("comparison", "compare_arrows"),
    "training": ("training", "model_training"),
    "notes": ("notes", "menu_book"),
}


def _show(module: str) -> None:
    import_module(f"app.dashboard.views.{module}").show()


st.set_page_config(page_title="DenseNet Lens", page_icon=":material/grid_on:", layout="wide")
st.html(
    "<style>.block-container {padding: 4.5rem 3rem 3rem;} "
    ".stApp :is(p, h1, h2, h3) {word-break: keep-all;}</style>"  # Korean words are not broken at a line's end
)
choose_language()
st.navigation(
    [
        st.Page(
            partial(_show, module),
            title=t(f"pages.{module}"),
            icon=f":material/{icon}:",
            url_path=address,
        )
        for module, (address, icon) in PAGES.items()
    ],
    position="top",
).run()
import_soon(tuple(f"app.dashboard.views.{module}" for module in PAGES))
