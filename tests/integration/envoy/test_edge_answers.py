"""Whatever the edge answers itself carries ErrorInfo, in the form in which it was asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.rpc import error_details_pb2
from marquee_envoy.config import Endpoint
from support.edge_forms import FORMS
from support.edge_replicas import until
from support.tokens import bearer

GET_USER = "/marquee.user.v1.UserService/GetUser"
UPDATE_USER = "/marquee.user.v1.UserService/UpdateUser"
SLOW = {"grpc": b"\n\x04slow", "grpc-web": b"\n\x04slow", "json": b'{"userId": "slow"}'}
REFUSED = {
    # by what is done: HTTP status, code, reason
    "no token": (401, 16, "TOKEN_MISSING"),
    "no scope": (403, 7, "SCOPE_MISSING"),
    "no such method": (404, 12, "NO_SUCH_METHOD"),
    "malformed": (400, 3, "MALFORMED_REQUEST"),
    "budget": (429, 8, "TOO_MANY_REQUESTS"),
    "no replica": (503, 14, "SERVICE_UNAVAILABLE"),
    "overload": (503, 14, "SERVICE_UNAVAILABLE"),
    "deadline": (504, 4, "DEADLINE_EXCEEDED"),
}


@pytest.fixture(scope="module")
def ask(make_lasting_edge, edge, base_config, free_port):
    """Brings about an answer of the edge."""
    away = (Endpoint("127.0.0.1", free_port()),)
    user, *others = base_config.upstreams
    edges = {
        "budget": lambda: make_lasting_edge(rate_per_s=1, rate_burst=100),
        "no replica": lambda: make_lasting_edge(
            wait_for={"reco"}, upstreams=(replace(user, endpoints=away), *others)
        ),
        "overload": lambda: make_lasting_edge(max_heap_bytes=1),
    }
    started = {}

    def ask(what: str, form: str):
        if what in edges and what not in started:
            started[what] = edges[what]()
            if what == "overload":  # which it looks at a few times a second
                path, small = GET_USER.removeprefix("/"), '{"userId": "ada"}'
                until(
                    lambda: started[what].post(path, small).status_code == 503, 20, "not overloaded"
                )
        target = started.get(what, edge)
        token = target.issuer.mint(f"{what}-{form}".replace(" ", "-"))
        call = FORMS[form]
        if what == "no token":
            return call(target.address, GET_USER, b"", ())
        if what == "no scope":
            return call(target.address, GET_USER, b"", bearer(target.issuer.mint("a", [])))
        if what == "no such method":
            return call(target.address, "/no.Such/Method", b"", bearer(token))
        if what == "malformed":
            return call(
                target.address, "/marquee.user.v1.UserService%2FGetUser", b"", bearer(token)
            )
        if what == "deadline":
            # grpc's core at the service, which knows the deadline too, may be faster by a hair, and
            # gives no details; not time and again, and never with another code.
            for _ in range(5):
                answer = call(target.address, GET_USER, SLOW[form], bearer(token))
                if answer.reason or answer.code != 4:
                    break
            return answer
        if what == "budget":
            for _ in range(40):
                answer = call(target.address, UPDATE_USER, b"", bearer(token))
            return answer
        return call(target.address, GET_USER, b"", bearer(token))

    return ask


@pytest.mark.parametrize("what", REFUSED)
def test_every_answer_has_its_reason_in_every_form(ask, form, what):
    http, code, reason = REFUSED[what]
    if form == "json" and what == "no such method":
        code = 5

    answer = ask(what, form)

    assert (answer.code, answer.reason) == (code, reason)
    assert answer.message
    assert answer.http == (http if form == "json" else 200)
    assert (answer.detail(error_details_pb2.RetryInfo) is not None) == (code in (8, 14))
