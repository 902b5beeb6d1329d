"""The command that starts the dashboard."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from app.cli.common import check_number
from app.cli.output import is_quiet
from app.dashboard.server.options import LOCAL_ADDRESSES, ServerOptions

DEFAULT_PORT = 8501
MAIN = Path(__file__).parents[1] / "main.py"


def check_folders(folders: list[Path] | None) -> list[Path] | None:
    """Check that every ``--root`` is a folder.

    Raises:
        ValueError: one is not.
    """
    for folder in folders or ():
        if not folder.is_dir():
            raise ValueError(f"--root {str(folder)!r} is not a folder")
    return folders


def check_host(name: str | None) -> str | None:
    """Check that ``--proxy-host`` is one host: an empty text or ``*`` would let every name in.

    Raises:
        ValueError: it is not.
    """
    if name is not None and not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", name):
        raise ValueError(f"--proxy-host {name!r} is not the name of a host: give one such as lens.example.org")
    return name


def serve(
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", callback=check_folders, help="Folder to serve in addition to runs/; repeatable."),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            callback=check_number("--port", minimum=0, maximum=65535),
            help="Port to listen on; 0 for a free one.",
        ),
    ] = DEFAULT_PORT,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "localhost",
    public: Annotated[
        bool, typer.Option("--public", help="Allow an --address other than localhost; needs --read-only.")
    ] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Disable training, and write nothing.")] = False,
    max_upload: Annotated[int, typer.Option(metavar="MB", help="Largest size of an uploaded file, in MB.")] = 500,
    session_memory: Annotated[
        int,
        typer.Option(
            metavar="MB",
            help="Limit of a session's uploads, in MB; for all sessions together, four times as much.",
        ),
    ] = 1024,
    jobs: Annotated[
        int | None,
        typer.Option(help="Number of measurements that run at the same time.", show_default="half the cores"),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHO",
            help="Who may log in: an address, @domain or group:NAME; repeatable.",
            show_default="every user of the provider in secrets.toml",
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    proxy_host: Annotated[
        str | None,
        typer.Option(metavar="NAME", callback=check_host, help="Host name of the HTTPS proxy in front of the server."),
    ] = None,
) -> None:
    """Open the dashboard in a browser, or serve it to others. SECURITY.md describes public servers."""
    options = ServerOptions(
        root=tuple(root or ()),
        read_only=read_only,
        public=public,
        max_upload=max_upload,
        session_memory=session_memory,
        jobs=jobs,
        allow=tuple(allow or ()),
    )
    options.check_address(address)
    gc.enable()
    ensure_home()
    place = streamlit_address(address, port, proxy_host)
    is_headless = not browser or public or proxy_host is not None
    try:
        with contextlib.suppress(KeyboardInterrupt):  # a server is ended with Ctrl-C
            run_server(options, {**place, "server.maxUploadSize": max_upload, "server.headless": is_headless})
    except OSError as error:
        raise ValueError(f"can't listen on --address {address} --port {port}: {error.strerror or error}") from error
    except SystemExit as error:  # Streamlit's, where others use the port
        if not error.code:
            raise
        raise ValueError(f"can't listen on --port {port}: choose another one, or 0 for one that is free") from error


def streamlit_address(address: str, port: int, proxy_host: str | None) -> dict[str, object]:
    """Return Streamlit's settings for a server at an address, behind a proxy or not."""
    settings: dict[str, object] = {"server.address": address, "server.port": port}
    if proxy_host is not None:
        settings |= {"browser.serverAddress": proxy_host, "browser.serverPort": 443}
    if proxy_host is not None or address not in LOCAL_ADDRESSES:  # else config.toml allows localhost's names
        settings |= {"server.allowedHosts": [proxy_host or "*"]}
    return settings


def ensure_home() -> None:
    """Give a user without a home a temporary one, in which Streamlit looks for settings, until the process ends."""
    try:
        Path.home()
    except RuntimeError:
        folder = tempfile.mkdtemp(prefix="densenet-lens-home-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["HOME"] = folder
        if not is_quiet():
            print(f"this user has no home folder: {folder} takes its place until the server ends", file=sys.stderr)


def run_server(options: ServerOptions, settings: dict[str, object]) -> None:
    """Serve the dashboard until the process ends; ``settings`` are Streamlit's."""
    from starlette.middleware import Middleware
    from streamlit.starlette import App

    from app.dashboard.server.limits import ConnectionLimit, UploadLimits

    sys.argv = [str(MAIN), *options.arguments()]  # what the pages read, and where Streamlit finds its settings
    limits = [Middleware(ConnectionLimit), Middleware(UploadLimits, session_bytes=options.session_memory * 2**20)]
    App(MAIN, middleware=limits).run(config=settings)
