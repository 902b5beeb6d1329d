"""The server behind the pages: its options, who may open them, and what visitors may take of the machine."""
