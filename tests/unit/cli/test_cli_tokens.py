import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from cli.address import Entry, find_edge
from cli.errors import CliError
from cli.main import main
from cli.scopes import ALL, PERSON, SERVICE
from cli.tokens import GivenToken, StackTokens, TokenFile, given_tokens
from devstack.errors import DevstackError
from devstack.issuer import AUDIENCE, ISSUER, SIGNS_AFTER_S, Issuer
from devstack.state import DataDirectory, Endpoints, StackInfo

SECRET = "x" * 32


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MARQUEE_EDGE", "MARQUEE_TOKEN", "MARQUEE_TOKEN_FILE", "MARQUEE_CA_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """That of the default data directory."""
    made = Issuer(tmp_path / ".marquee" / "auth")
    made.prepare()
    return made


def token_of(expiry: float) -> str:
    return jwt.encode({"exp": expiry}, SECRET, algorithm="HS256")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that succeeds and returns what it wrote to standard output."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    captured = capsys.readouterr()
    assert caught.value.code == 0, captured.err
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that fails and returns its one line."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    captured = capsys.readouterr()
    assert caught.value.code != 0
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def claims(issuer: Issuer, token: str) -> dict[str, str]:
    keys = jwt.PyJWKSet.from_dict(json.loads(issuer.jwks.read_text()))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)


class TestTokenCommand:
    @pytest.mark.parametrize(
        ("arguments", "subject", "scopes"),
        [
            (["--user", "ada"], "ada", PERSON),
            (["--service", "shop"], "service:shop", SERVICE),
            (["--admin"], "service:operator", ALL),
            (["--user", "ada", "--admin"], "ada", ALL),
            (["--user", "ada", "--scope", "users.read", "--scope", "admin"], "ada",
             ("users.read", "admin")),
        ],
    )  # fmt: skip
    def test_prints_a_token_and_nothing_else(
        self,
        capsys: pytest.CaptureFixture[str],
        issuer: Issuer,
        arguments: list[str],
        subject: str,
        scopes: tuple[str, ...],
    ) -> None:
        out = printed(capsys, "token", *arguments)
        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", out)
        told = claims(issuer, out.strip())
        assert told["sub"] == subject
        assert set(told["scope"].split()) == set(scopes)

    def test_people_reach_only_themselves(self) -> None:
        assert not {"admin", "subjects.any", "users.list"} & set(PERSON)
        assert {*PERSON, "subjects.any"} == set(SERVICE)
        assert set(SERVICE) < set(ALL)

    def test_it_lasts_as_long_as_asked(
        self, capsys: pytest.CaptureFixture[str], issuer: Issuer
    ) -> None:
        for text, seconds in (("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400)):
            out = printed(capsys, "token", "--user", "ada", "--lifetime", text)
            told = jwt.decode(out.strip(), options={"verify_signature": False})
            assert told["exp"] - told["iat"] == seconds

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], "--user"),
            (["--user", "a", "--service", "b"], "not for both"),
            (["--user", "service:user"], "not an id"),
            (["--user", ""], "not an id"),
            (["--user", "a", "--scope", "everything"], "users.read"),
            (["--user", "a", "--lifetime", "0s"], "15m"),
            (["--user", "a", "--lifetime", "86401s"], "at most 24h"),
            (["--user", "a", "--lifetime", "2d"], "at most 24h"),
            (["--user", "a", "--lifetime", "1 week"], "15m"),
        ],
    )
    @pytest.mark.usefixtures("issuer")
    def test_what_it_refuses(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
    ) -> None:
        assert expected in refused(capsys, "token", *arguments)

    def test_without_a_stack(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "marquee up" in refused(capsys, "token", "--user", "ada")


class TestKeysCommand:
    def test_rotate_then_withdraw(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        issuer: Issuer,
    ) -> None:
        (old,) = (key.kid for key in issuer.known_keys())
        assert old in printed(capsys, "keys", "list")
        assert "keys rotate" in refused(capsys, "keys", "withdraw", old)
        monkeypatch.setattr("cli.commands.keys.SIGNS_AFTER_S", 0)
        new = printed(capsys, "keys", "rotate").strip()
        assert [key.kid for key in issuer.known_keys()] == [old, new]
        monkeypatch.setattr("devstack.issuer.SIGNS_AFTER_S", 0)
        assert printed(capsys, "keys", "withdraw", old) == ""
        assert [key.kid for key in issuer.known_keys()] == [new]
        assert "no key" in refused(capsys, "keys", "withdraw", old)

    @pytest.mark.parametrize("command", [["list"], ["rotate"], ["withdraw", "x"]])
    def test_without_a_stack(self, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
        assert "marquee up" in refused(capsys, "keys", *command)


class TestWhereTokensComeFrom:
    def test_the_command_line_goes_before_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MARQUEE_TOKEN", "from-environment")
        (tmp_path / "token").write_text("from-file\n")
        from_file, from_environment = given_tokens(tmp_path / "token"), given_tokens(None)
        assert from_file is not None
        assert from_environment is not None
        assert (from_file(), from_environment()) == ("from-file", "from-environment")

    def test_a_file_is_read_again_when_it_changes(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text("one")
        tokens = TokenFile(path)
        assert tokens() == "one"
        path.write_text("two")
        os.utime(path, (1, 1))
        assert tokens() == "two"

    @pytest.mark.parametrize("text", ["", "two words", "a\nb", "tökén"])
    def test_what_is_no_token_is_not_sent_or_quoted(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "secret.jwt"
        path.write_text(text)
        with pytest.raises(CliError, match=r"secret\.jwt is empty or not a token") as raised:
            TokenFile(path)
        assert not text or text not in str(raised.value)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CliError, match="No such file"):
            TokenFile(tmp_path / "nothing")

    def test_an_expired_one_is_told_before_it_is_sent(self, tmp_path: Path) -> None:
        old = token_of(1_700_000_000)
        path = tmp_path / "token"
        path.write_text(old)
        for tokens, what in ((GivenToken(old), "MARQUEE_TOKEN"), (TokenFile(path), str(path))):
            with pytest.raises(CliError, match="expired at 2023-11-14 22:13:20 UTC") as raised:
                tokens()
            assert what in str(raised.value)
            assert old not in str(raised.value)

    @pytest.mark.parametrize("token", ["opaque", token_of(4e9), "a.b.c"])
    def test_what_cannot_be_read_is_left_to_the_mesh(self, token: str) -> None:
        assert GivenToken(token)() == token

    def test_those_of_a_stack_are_renewed(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = issuer.known_keys()[0].made_at
        monkeypatch.setattr("cli.tokens.time.time", lambda: clock)
        tokens = StackTokens(issuer)
        first = tokens()
        assert jwt.decode(first, options={"verify_signature": False})["sub"] == "service:cli"
        assert tokens() == first
        clock += 1801
        second = tokens()
        assert second != first
        new = issuer.rotate(clock)
        assert tokens() == second
        clock += SIGNS_AFTER_S + 1
        assert jwt.get_unverified_header(tokens())["kid"] == new


class TestWhereTokensGo:
    @pytest.mark.parametrize("by_file", [False, True])
    @pytest.mark.parametrize(
        "address", ["mesh.example:8080", "10.0.0.1:8080", "[2001:db8::1]:8080", "0.0.0.0:8080"]
    )
    def test_not_elsewhere_in_the_clear(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, *, by_file: bool
    ) -> None:
        path = tmp_path / "token"
        path.write_text("from-file")
        if not by_file:
            monkeypatch.setenv("MARQUEE_TOKEN", "from-environment")
        with pytest.raises(CliError, match=r"in the clear: .*--ca-file") as raised:
            find_edge(Entry(address, Path(".marquee"), token_file=path if by_file else None))
        assert f"a token would travel to {address} " in str(raised.value)
        assert "from-" not in str(raised.value)

    def test_a_command_says_so_in_one_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MARQUEE_TOKEN", "mine")
        line = refused(capsys, "train", "--edge", "mesh.example:8080")
        assert "a token would travel to mesh.example:8080 in the clear" in line

    @pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "localhost:1"])
    def test_on_this_machine_as_they_are(
        self, monkeypatch: pytest.MonkeyPatch, address: str
    ) -> None:
        monkeypatch.setenv("MARQUEE_TOKEN", "mine")
        edge = find_edge(Entry(address, Path(".marquee")))
        assert (edge.address, edge.tls) == (address, None)

    def test_anywhere_by_tls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MARQUEE_TOKEN", "mine")
        edge = find_edge(Entry("mesh.example:443", Path(".marquee"), ca_file=Path("ca.pem")))
        assert edge.tls is not None
        assert edge.tls.authorities == Path("ca.pem")


class TestEdgeOfAStack:
    @pytest.fixture
    def _running(self, tmp_path: Path, issuer: Issuer) -> Iterator[None]:
        info = dict.fromkeys(Endpoints.__dataclass_fields__, "127.0.0.1:1")
        directory = DataDirectory(tmp_path / ".marquee")
        (tmp_path / ".marquee" / "marquee.lock").touch()
        directory.acquire()
        directory.write(
            StackInfo(
                pid=os.getpid(),
                started_at=0,
                endpoints=Endpoints(**{**info, "edge": "127.0.0.1:8080", "replicas": {}}),
                components={},
                spans_path="",
            )
        )
        yield
        directory.release()

    @pytest.mark.usefixtures("_running")
    @pytest.mark.parametrize("named", [None, "127.0.0.1:8080"])
    def test_it_signs_for_itself(self, issuer: Issuer, named: str | None) -> None:
        edge = find_edge(Entry(named, Path(".marquee")))
        assert edge.address == "127.0.0.1:8080"
        assert set(claims(issuer, edge.tokens())["scope"].split()) == set(ALL)

    @pytest.mark.usefixtures("_running")
    def test_its_tokens_go_nowhere_else(self) -> None:
        with pytest.raises(CliError, match=r"no token for the mesh at mesh\.example:443"):
            find_edge(Entry("mesh.example:443", Path(".marquee")))

    @pytest.mark.usefixtures("_running")
    def test_a_given_token_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MARQUEE_TOKEN", "mine")
        assert find_edge(Entry(None, Path(".marquee"))).tokens() == "mine"

    def test_none_runs(self) -> None:
        with pytest.raises(DevstackError, match="marquee up"):
            find_edge(Entry(None, Path(".marquee")))
