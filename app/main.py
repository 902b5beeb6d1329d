"""The dashboard: `streamlit run app/main.py`, with folders to serve after `--`: `-- --root DIR --root DIR`."""

import streamlit as st

from app.language import choose_language, t
from app.loading import spare_imports_from_collection
from app.views import agreement, claims, comparison, efficiency, feature_reuse, gradient_flow, notes, pruning, training

st.set_page_config(page_title="DenseNet Lens", page_icon=":material/grid_on:", layout="wide")
st.html(
    "<style>.block-container {padding: 4.5rem 3rem 3rem;} "
    ".stApp :is(p, h1, h2, h3) {word-break: keep-all;}</style>"  # Korean words are not broken at a line's end
)
choose_language()
spare_imports_from_collection()

PAGES = [
    st.Page(
        feature_reuse.show, title=t("pages.feature_reuse"), icon=":material/grid_on:", url_path="reuse", default=True
    ),
    st.Page(agreement.show, title=t("pages.agreement"), icon=":material/scatter_plot:", url_path="agreement"),
    st.Page(claims.show, title=t("pages.claims"), icon=":material/fact_check:", url_path="claims"),
    st.Page(gradient_flow.show, title=t("pages.gradient_flow"), icon=":material/show_chart:", url_path="gradients"),
    st.Page(pruning.show, title=t("pages.pruning"), icon=":material/content_cut:", url_path="pruning"),
    st.Page(efficiency.show, title=t("pages.efficiency"), icon=":material/monitoring:", url_path="efficiency"),
    st.Page(comparison.show, title=t("pages.comparison"), icon=":material/compare_arrows:", url_path="comparison"),
    st.Page(training.show, title=t("pages.training"), icon=":material/model_training:", url_path="training"),
    st.Page(notes.show, title=t("pages.notes"), icon=":material/menu_book:", url_path="notes"),
]
st.navigation(PAGES, position="top").run()
