"""What a training leaves on disk: its files, its state, its status."""
