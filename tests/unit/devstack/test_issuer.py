from __future__ import annotations

import json
import stat

import jwt
import pytest

from devstack.issuer import (
    AUDIENCE,
    ISSUER,
    SIGNS_AFTER_S,
    Issuer,
    IssuerError,
    ServiceTokens,
    token_file,
)

NOW = 1_900_000_000.0


@pytest.fixture
def issuer(tmp_path):
    made = Issuer(tmp_path / "auth")
    made.prepare(NOW)
    return made


def published(issuer) -> dict[str, jwt.PyJWK]:
    return {
        key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(issuer.jwks.read_text())).keys
    }


def verified(issuer, token: str) -> dict[str, object]:
    """What a verifier reads that knows only the public list."""
    key = published(issuer)[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_verified_by_the_public_list(issuer):
    token = issuer.mint("ada", ["users.write", "users.read"], 600, NOW)

    claims = verified(issuer, token)
    assert (claims["sub"], claims["scope"]) == ("ada", "users.read users.write")
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 600)
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert claims["jti"] != verified(issuer, issuer.mint("ada", [], 600, NOW))["jti"]


def test_private_keys_are_for_their_owner_only(issuer):
    (key,) = (issuer.directory / "keys").iterdir()
    assert mode(key) == 0o600
    assert mode(key.parent) == 0o700
    assert "PRIVATE KEY" in key.read_text()
    (public,) = json.loads(issuer.jwks.read_text())["keys"]
    assert set(public) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert public["kid"] == key.stem


def test_keys_outlive_the_stack(issuer):
    token = issuer.mint("ada", [], 600, NOW)
    again = Issuer(issuer.directory)
    again.prepare(NOW + 1000)

    assert verified(again, token)["sub"] == "ada"
    assert [key.kid for key in again.known_keys(NOW)] == [key.kid for key in issuer.known_keys(NOW)]


def test_a_new_key_is_published_before_it_signs(issuer):
    old = issuer.signing_kid(NOW)
    before = issuer.mint("ada", [], 600, NOW)
    new = issuer.rotate(NOW + 100)

    assert set(published(issuer)) == {old, new}
    assert issuer.signing_kid(NOW + 101) == old
    assert issuer.signing_kid(NOW + 100 + SIGNS_AFTER_S) == new
    assert [(key.kid, key.signs) for key in issuer.known_keys(NOW + 200)] == [
        (old, False),
        (new, True),
    ]
    after = issuer.mint("ada", [], 600, NOW + 200)
    assert jwt.get_unverified_header(after)["kid"] == new
    assert {verified(issuer, token)["sub"] for token in (before, after)} == {"ada"}


def test_the_newest_key_is_the_newest_whatever_the_clock_says(issuer):
    kids = [issuer.signing_kid(NOW)]
    kids += [issuer.rotate(NOW - 3600) for _ in range(5)]
    assert [key.kid for key in issuer.known_keys(NOW)] == kids
    assert issuer.signing_kid(NOW + 60) == kids[-1]


def test_a_withdrawn_key_is_gone_for_good(issuer):
    old = issuer.signing_kid(NOW)
    with pytest.raises(IssuerError, match="keys rotate"):
        issuer.withdraw(old, NOW)
    new = issuer.rotate(NOW)
    with pytest.raises(IssuerError, match="signs new tokens"):
        issuer.withdraw(old, NOW + 1)

    issuer.withdraw(old, NOW + SIGNS_AFTER_S + 1)

    assert set(published(issuer)) == {new}
    assert [path.stem for path in (issuer.directory / "keys").iterdir()] == [new]
    issuer.prepare(NOW + 100)
    assert set(published(issuer)) == {new}


def test_a_key_that_is_not_there_cannot_be_withdrawn(issuer):
    with pytest.raises(IssuerError, match=r"no key '\.\./"):
        issuer.withdraw("../../etc/passwd", NOW)


def test_without_keys_there_is_one_clear_line(tmp_path):
    issuer = Issuer(tmp_path / "auth")
    for use in (issuer.known_keys, issuer.rotate, lambda: issuer.mint("ada", [], 1)):
        with pytest.raises(IssuerError, match="marquee up") as raised:
            use()
        assert "\n" not in str(raised.value)


def test_a_damaged_key_is_named_and_not_quoted(issuer):
    (key,) = (issuer.directory / "keys").iterdir()
    key.write_text("secret")
    with pytest.raises(IssuerError, match=key.name) as raised:
        issuer.mint("ada", [], 1, NOW)
    assert "secret" not in str(raised.value)


class TestServiceTokens:
    @pytest.fixture
    def tokens(self, issuer, tmp_path):
        scopes = {"user": ("interactions.read", "subjects.any")}
        return ServiceTokens(issuer, tmp_path / "tokens", scopes, lifetime_s=100)

    def test_a_service_gets_what_it_needs_and_no_more(self, issuer, tokens, tmp_path):
        assert tokens.renew(NOW)

        (file,) = (tmp_path / "tokens").iterdir()
        assert file == token_file(tmp_path / "tokens", "user")
        assert (mode(file), mode(file.parent)) == (0o600, 0o700)
        claims = verified(issuer, file.read_text())
        assert claims["sub"] == "service:user"
        assert claims["scope"] == "interactions.read subjects.any"

    def test_they_are_renewed_long_before_they_end(self, issuer, tokens, tmp_path):
        tokens.renew(NOW)
        assert not tokens.renew(NOW + 49)
        assert tokens.renew(NOW + 51)
        token = token_file(tmp_path / "tokens", "user").read_text()
        assert verified(issuer, token)["exp"] == NOW + 151

    def test_they_follow_the_signing_key(self, issuer, tokens, tmp_path):
        tokens.renew(NOW)
        new = issuer.rotate(NOW)
        assert not tokens.renew(NOW + 1)
        assert tokens.renew(NOW + SIGNS_AFTER_S + 1)
        token = token_file(tmp_path / "tokens", "user").read_text()
        assert jwt.get_unverified_header(token)["kid"] == new
