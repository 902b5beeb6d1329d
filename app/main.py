"""The dashboard: `streamlit run app/main.py`, with folders to serve after `--`: `-- --root DIR --root DIR`."""

import streamlit as st

from app.views import comparison, efficiency, feature_reuse, training

st.set_page_config(page_title="DenseNet Lens", page_icon=":material/grid_on:", layout="wide")
st.html("<style>.block-container {padding: 4.5rem 3rem 3rem;}</style>")

PAGES = [
    st.Page(feature_reuse.show, title="Feature reuse", icon=":material/grid_on:", url_path="reuse", default=True),
    st.Page(efficiency.show, title="Efficiency", icon=":material/scatter_plot:", url_path="efficiency"),
    st.Page(comparison.show, title="Comparison", icon=":material/compare_arrows:", url_path="comparison"),
    st.Page(training.show, title="Training", icon=":material/model_training:", url_path="training"),
]
st.navigation(PAGES, position="top").run()
