"""Results of the suite's own sweeps and benchmarks as CSV files; see ``analysis.results.results``."""
