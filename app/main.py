"""The dashboard: `densenet-lens serve`, or `streamlit run app/main.py -- OPTIONS` with the same options."""

import streamlit as st

from app.dashboard.language import choose_language
from app.dashboard.pages import PAGES, navigation_pages
from app.dashboard.server.access import check_access, show_account
from app.dashboard.warm_up import import_soon
from app.dashboard.widgets.clicks import forget_clicks
from app.dashboard.widgets.long_work import show_jobs, show_open_jobs
from densenet_core.training.malloc import return_freed_memory

st.set_page_config(page_title="DenseNet Lens", page_icon=":material/grid_on:", layout="wide")
st.html(
    "<style>.block-container {padding: 4.5rem 3rem 3rem;} "
    "@media (max-width: 640px) {.block-container {padding: 4rem 1rem 2rem;}} "
    # as many blocks a row as keep cells large enough to touch; the last one has the color bar too
    "[class*='st-key-blocks_'] > div {flex: 1 1 290px !important; min-width: min(100%, 290px); max-width: 660px;} "
    "[class*='st-key-blocks_'] > div:last-child {flex-basis: 360px !important; max-width: 730px;} "
    "[class*='st-key-wide_blocks_'] > div {flex: 1 1 400px !important; min-width: min(100%, 400px); max-width: 900px;} "
    "[class*='st-key-wide_blocks_'] > div:last-child {flex-basis: 470px !important;} "
    "@media (max-width: 1100px) {[class*='st-key-blocks_'] > div, [class*='st-key-wide_blocks_'] > div "
    "{flex-basis: 100% !important; max-width: none !important;}} "
    "[class*='st-key-pair_'] > div {flex: 1 1 340px !important; min-width: min(100%, 340px);} "
    "@media (max-width: 1100px) {.st-key-image_and_parts [data-testid=stColumn] {min-width: 100%;} "
    ".st-key-image_and_parts [data-testid=stColumn] [data-testid=stColumn] {min-width: 0;} "
    ".st-key-observations_table [data-testid=stColumn]:first-child {min-width: 100%;}} "  # a verdict is not cut
    # the jobs that run are in the sidebar; where it is closed, as on a phone, at the top of the page
    "[data-testid=stLayoutWrapper]:has(> .st-key-open_jobs) {display: none;} "
    ".stApp:has([data-testid=stSidebar][data-collapsed=true]) [data-testid=stLayoutWrapper]"
    ":has(> .st-key-open_jobs:not(:empty)) {display: flex;} "
    "[data-testid=stCaptionContainer] {color: inherit; opacity: 0.8;} "  # Streamlit's gray has a contrast below 4.5
    ".st-key-thumbnails button {height: auto; padding: 0.35rem; border-radius: 0.5rem;} "
    ".st-key-thumbnails button p {display: flex; flex-direction: column; align-items: center; font-size: 0.8rem;} "
    ".st-key-seen_image {max-width: 280px;} "
    ".st-key-thumbnails img {width: 4rem; height: 4rem; max-height: none !important; border-radius: 0.3rem;} "
    "[data-testid=stMetricLabel] :is(div, p) {white-space: normal;} "  # Streamlit cuts long labels
    "[class*='st-key-numbers_'] :is(td, th:not(:first-child)) {text-align: right !important;} "
    ".katex-display {overflow-x: auto; overflow-y: hidden;} "  # long formulas scroll on a phone
    "@media (max-width: 640px) {.katex-display > .katex {font-size: 1em;}} "
    # white on the dark theme's light blue has a contrast below 4.5
    ".stApp :is([data-testid^=stBaseButton-primary], [data-tag-index]) * {color: light-dark(#ffffff, #111827);} "
    "[class*='st-key-notes_arrow_'] button :is(div, p) {white-space: normal; text-align: start;} "
    "[data-testid=stSidebar] [role=radiogroup] {row-gap: 0.4rem;} "
    "[data-testid=stLayoutWrapper]:has(> [class*='st-key-on_phone_']) {display: none;} "
    "@media (max-width: 640px) {[data-testid=stLayoutWrapper]:has(> [class*='st-key-off_phone_']) {display: none;} "
    "[data-testid=stLayoutWrapper]:has(> [class*='st-key-on_phone_']) {display: flex;}} "
    "@media (max-width: 640px) {.st-key-efficiency .textpoint {display: none;}} "  # no room for the points' names
    # Korean words are not broken at a line's end
    ".stApp :is(p, h1, h2, h3, li, td, th) {word-break: keep-all;}</style>"
)
return_freed_memory()
check_access()
choose_language()
show_account()
page = st.navigation(navigation_pages(), position="top")
open_jobs = st.container(key="open_jobs")
page.run()
forget_clicks()
show_open_jobs(open_jobs)
show_jobs()
import_soon(tuple(f"app.dashboard.views.{module}" for module in PAGES))
