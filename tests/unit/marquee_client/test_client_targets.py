import pytest

from marquee_client.targets import endpoints, stays_on_this_machine


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:8080",
        "127.8.9.1:1",
        "localhost:8080",
        "[::1]:8080",
        "dns:///localhost:8080",
        "dns:localhost:8080",
        "ipv4:127.0.0.1:1,127.0.0.2:1",
        "ipv6:[::1]:1",
        "unix:/run/marquee.sock",
        "unix:marquee.sock",
    ],
)
def test_what_stays_on_this_machine(target: str) -> None:
    assert stays_on_this_machine(target)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "10.0.0.1:8080",
        "edge.example.org:443",
        "localhost.example.org:443",
        "127.0.0.1.example.org:443",
        "0.0.0.0:8080",
        "[2001:db8::1]:443",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "dns://127.0.0.1/edge.example.org:443",
        "xds:///localhost",
        "https://localhost:443",
    ],
)
def test_what_may_be_anywhere(target: str) -> None:
    assert not stays_on_this_machine(target)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("edge:443", [("edge", 443)]),
        ("edge", [("edge", None)]),
        ("[::1]:443", [("::1", 443)]),
        ("::1", [("::1", None)]),
        ("dns://8.8.8.8/edge:443", [("edge", 443)]),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", [("10.0.0.1", 1), ("10.0.0.2", 2)]),
        ("unix:/run/marquee.sock", []),
        ("xds:///edge", []),
    ],
)
def test_endpoints(target: str, expected: list[tuple[str, int | None]]) -> None:
    assert endpoints(target) == expected
