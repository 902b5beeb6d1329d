"""Streamlit's login on a live server, against a small OpenID Connect provider on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from app.dashboard.language import catalogue
from app.dashboard.server.access import user_name
from tests.app.server.live import Visitor, free_port, serve

oidc = pytest.importorskip("oidc_provider_mock")
httpx = pytest.importorskip("httpx")
pytest.importorskip("authlib")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
LOGIN = catalogue("en")["access.login"]


class Server(NamedTuple):
    port: int
    folder: Path
    issuer: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A dashboard that lets example.org's people in, and a provider that believes whoever says who they are."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    users = [
        oidc.User(sub=name, claims={"email": f"{name}@{domain}", "email_verified": True})
        for name, domain in (("ann", "example.org"), ("bob", "example.org"), ("eve", "evil.net"))
    ]
    with oidc.run_server_in_thread(user_claims=users) as provider:
        issuer = f"http://localhost:{provider.server_port}"
        (folder / ".streamlit").mkdir()
        (folder / ".streamlit" / "secrets.toml").write_text(
            f'[auth]\nredirect_uri = "http://localhost:{port}/oauth2callback"\ncookie_secret = "{"s" * 40}"\n'
            f'client_id = "lens"\nclient_secret = "secret"\n'
            f'server_metadata_url = "{issuer}/.well-known/openid-configuration"\n'
        )
        with serve(folder, port, "--allow", "@example.org"):
            yield Server(port, folder, issuer)


def log_in(server: Server, name: str) -> str:
    """Log in as a browser does and return the cookies."""
    with Visitor(server.port) as visitor:
        address = visitor.click(LOGIN)
        browser = httpx.Client(follow_redirects=True)
        page = browser.get(f"http://localhost:{server.port}{address}", headers={"Cookie": visitor.cookies})
        browser.post(str(page.url), data={"sub": name})
        return "; ".join(f"{key}={value}" for key, value in browser.cookies.items())


def test_nothing_is_served_before_the_login(server: Server) -> None:
    for page in ("", "reuse", "training", "notes"):
        with Visitor(server.port, page) as visitor:
            assert LOGIN in visitor.said
            assert "densenet-40-12-digits" not in visitor.said and "plotly" not in visitor.said
            assert visitor.upload(10, body=False) == 403


def test_people_on_the_list_get_in_and_have_their_own_runs(server: Server) -> None:
    own = user_name({"iss": server.issuer, "sub": "ann", "email": "ann@example.org"})
    for place in (own, "."):
        run = server.folder / "runs" / place / f"run-of-{place.strip('.') or 'nobody'}"
        run.mkdir(parents=True)
        (run / "config.json").write_text('{"arch": "densenet-7-2", "dataset": "digits", "seed": 0, "epochs": 1}')
    with Visitor(server.port, "training", log_in(server, "ann")) as ann:
        assert LOGIN not in ann.said and catalogue("en")["access.logout"] in ann.said
        assert f"run-of-{own}" in ann.said and "run-of-nobody" not in ann.said
        assert ann.upload(10) == 204
    with Visitor(server.port, "training", log_in(server, "bob")) as bob:
        assert LOGIN not in bob.said and "run-of-" not in bob.said


def test_others_are_refused_after_the_login(server: Server) -> None:
    with Visitor(server.port, "", log_in(server, "eve")) as eve:
        assert "is not on the list of people who may use this server" in eve.said.replace("\\", "")
        assert "plotly" not in eve.said
        assert eve.upload(10, body=False) == 403


def test_a_forged_cookie_lets_nobody_in(server: Server) -> None:
    cookies = log_in(server, "ann")
    forged = re.sub(r"(_streamlit_user=\S{10})\S", r"\1x", cookies)
    assert forged != cookies
    with Visitor(server.port, "", forged) as visitor:
        assert LOGIN in visitor.said and "plotly" not in visitor.said
