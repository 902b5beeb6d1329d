"""The dashboard's pages, one per file."""
