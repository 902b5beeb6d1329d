"""Widgets of the pages: pickers, cards, tables, downloads, links."""
