"""What pages put on the screen: pickers, cards, tables, downloads, links."""
