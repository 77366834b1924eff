"""The token for calls to peers that a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mesh.auth.peer_tokens import ClientCredentials, TokenFile, peer_tokens
from mesh.errors import Unauthenticated
from mesh.settings import MeshSettings


def settings(**values: Any) -> MeshSettings:
    return MeshSettings(
        listen="127.0.0.1:1",
        mongodb_uri="mongodb://127.0.0.1:1",
        kafka_bootstrap="127.0.0.1:1",
        auth_issuer="i",
        auth_audience="a",
        auth_jwks="/keys",
        **values,
    )


def test_it_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    source = TokenFile(path)
    assert source() == "first"
    assert source() == "first"
    (tmp_path / "new").write_text("second")
    (tmp_path / "new").replace(path)
    assert source() == "second"
    path.write_text("a-longer-third")
    assert source() == "a-longer-third"


@pytest.mark.parametrize("content", ["", "\n", "two tokens", "a\r\nx-evil: 1", "é", "\0"])
def test_what_is_no_token_is_not_sent(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text("good")
    source = TokenFile(path)
    source()
    path.write_text(content)
    with pytest.raises(Unauthenticated, match="is empty or holds something else") as refused:
        source()
    assert refused.value.reason == "PEER_TOKEN_MISSING"
    path.write_text("better")
    assert source() == "better"


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = TokenFile(path)
    with pytest.raises(Unauthenticated, match="No such file") as refused:
        source()
    assert refused.value.reason == "PEER_TOKEN_MISSING"
    path.write_text("token")
    assert source() == "token"
    path.unlink()
    with pytest.raises(Unauthenticated):
        source()


def test_the_settings_name_the_source(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("token")
    assert peer_tokens(settings(peer_token_file=path))() == "token"
    from_endpoint = peer_tokens(
        settings(
            peer_token_url="http://127.0.0.1:1/token",
            peer_client_id="me",
            peer_client_secret_file=path,
        )
    )
    assert isinstance(from_endpoint, ClientCredentials)
    with pytest.raises(Unauthenticated, match="neither MARQUEE_PEER_TOKEN_FILE nor"):
        peer_tokens(settings())()
