"""`python -m app`: the command line, where its script is not on the path; the script starts here too."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C during its imports ends the process without a traceback."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from app.cli.main import main as run

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
