"""Run folders: the files, state and status of a training."""
