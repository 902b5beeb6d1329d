"""`python -m app`: the command line, where its script is not on the path."""

from app.cli.main import main

main()
