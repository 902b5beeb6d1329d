"""Other people's results as CSV files, a row a result, each with its source; see ``analysis.results.results``."""
