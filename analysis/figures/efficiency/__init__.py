"""The paper's Figures 3 and 4 (left, middle) for any results: error against cost, for paper and for the screen."""
