import os
from pathlib import Path

import pytest

import marquee_client
from marquee_client import TokenError
from marquee_client.tokens import TokenFile, Tokens, tokens_for


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one.1\n")
    token = TokenFile(path)
    assert token() == "one.1"
    replace(path, "two.2")
    assert token() == "two.2"


def test_a_file_that_is_not_touched_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    token()
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("read again"))
    assert token() == "one"


def test_a_change_of_equal_length_at_the_same_moment_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    token()
    then = path.stat().st_mtime_ns
    replace(path, "two")
    os.utime(path, ns=(then, then))
    assert token() == "two"


@pytest.mark.parametrize("left", [None, "", "half a tok", "\x00"])
def test_a_file_that_was_broken_keeps_its_token(tmp_path: Path, left: str | None) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    token()
    if left is None:
        path.unlink()
    else:
        replace(path, left)
    assert token() == "one"
    replace(path, "two")
    assert token() == "two"


def test_a_file_that_never_held_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(TokenError, match="No such file"):
        TokenFile(path)()
    path.write_text("not a token at all")
    with pytest.raises(TokenError, match="holds no token") as caught:
        TokenFile(path)()
    assert "not a token at all" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "a b", "a\nb", "ä", "Bearer x"])
def test_what_cannot_be_a_token_is_refused_and_not_quoted(text: str) -> None:
    for give in (lambda: Tokens(text), lambda: Tokens(lambda: text).get()):
        with pytest.raises(TokenError) as caught:
            give()
        assert not text.strip() or text not in str(caught.value)


async def test_a_function_is_asked_each_time() -> None:
    given = iter(["one", "two", "three"])
    tokens = Tokens(lambda: next(given))
    assert [tokens.get(), await tokens.get_async(), tokens.get()] == ["one", "two", "three"]
    assert tokens.renewable
    assert not Tokens("one").renewable


async def test_a_coroutine_function_is_for_asyncio() -> None:
    async def give() -> str:
        return "one"

    tokens = tokens_for("localhost:1", give, encrypted=False, allow_plaintext=False)
    assert tokens is not None
    assert await tokens.get_async() == "one"
    with pytest.raises(TokenError, match="aio only"):
        tokens.get()


async def test_no_token_leaves_the_machine_in_the_clear() -> None:
    for connect in (marquee_client.connect, marquee_client.aio.connect):
        with pytest.raises(ValueError, match="in the clear") as caught:
            connect("edge.example.org:80", token="secret")
        assert "secret" not in str(caught.value)
    marquee_client.connect("edge.example.org:80").close()
    marquee_client.connect("edge.example.org:80", token="t", allow_plaintext_token=True).close()
    marquee_client.connect("edge.example.org:443", token="t", tls=marquee_client.Tls()).close()
    marquee_client.connect("127.0.0.1:80", token="t").close()


def test_a_client_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="both"):
        marquee_client.Tls(cert_file="client.pem")
