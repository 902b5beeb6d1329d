"""The dashboard and the command line: they choose and show, nothing else."""
