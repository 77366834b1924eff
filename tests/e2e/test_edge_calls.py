"""What people do by hand: grpcurl and JSON, through Envoy and straight at each service."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.running import RunningMesh

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(400),  # the first test waits for the import
]

CALLS = {
    "marquee.user.v1.UserService": ("ListUsers", {"page_size": 1}),
    "marquee.reco.v1.CatalogService": ("GetMovie", {"movie_id": "1"}),
    "marquee.reco.v1.InteractionService": ("ListInteractions", {"user_id": "196"}),
    "marquee.reco.v1.RecommendationService": ("Recommend", {"user_id": "196", "explain": True}),
    "marquee.reco.v1.ModelService": ("GetIndexStatus", {}),
    "marquee.notify.v1.NotificationService": ("GetUnreadCount", {"user_id": "196"}),
}
BAD = [
    ("marquee.user.v1.UserService/GetUser", {"user_id": ""}, "user_id"),
    ("marquee.user.v1.UserService/ListUsers", {"page_size": -1}, "page_size"),
    ("marquee.user.v1.UserService/ListUsers", {"page_token": "%%%"}, "page_token"),
    ("marquee.reco.v1.CatalogService/GetMovie", {"movie_id": ""}, "movie_id"),
    ("marquee.reco.v1.CatalogService/ListMovies", {"page_size": -5}, "page_size"),
    ("marquee.reco.v1.CatalogService/ListMovies", {"page_token": "nonsense"}, "page_token"),
    ("marquee.reco.v1.InteractionService/ListInteractions", {"user_id": ""}, "user_id"),
    ("marquee.reco.v1.RecommendationService/Recommend", {"user_id": ""}, "user_id"),
    ("marquee.reco.v1.RecommendationService/Recommend", {}, "subject"),
    ("marquee.reco.v1.RecommendationService/Trending", {"limit": -1}, "limit"),
    ("marquee.reco.v1.ModelService/GetModel", {"version": ""}, "version"),
    ("marquee.reco.v1.ModelService/ListModels", {"page_token": "AAAA"}, "page_token"),
    ("marquee.notify.v1.NotificationService/ListNotifications", {"user_id": ""}, "user_id"),
    (
        "marquee.notify.v1.NotificationService/ListNotifications",
        {"user_id": "1", "page_size": -1},
        "page_size",
    ),
]


def _service_address(running: RunningMesh, service: str) -> str:
    endpoints = running.stack.endpoints
    return {"user": endpoints.user, "reco": endpoints.reco, "notify": endpoints.notify}[
        service.split(".")[1]
    ]


async def grpcurl(*arguments: str, token: str = "") -> tuple[int, str, str]:
    """Runs grpcurl and returns its status, output and errors."""
    header = ("-H", f"authorization: Bearer {token}") if token else ()
    beside = Path(sys.executable).with_name("grpcurl")
    command = str(beside) if beside.exists() else shutil.which("grpcurl")
    assert command, "grpcurl is not installed"
    process = await asyncio.create_subprocess_exec(
        command,
        "-plaintext",
        *header,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize("way", ["edge", "straight"])
async def test_grpcurl_lists_describes_and_calls(
    running: RunningMesh, service: str, way: str
) -> None:
    edge = running.stack.endpoints.edge
    address = edge if way == "edge" else _service_address(running, service)
    status, listed, problem = await grpcurl(address, "list")
    assert status == 0, problem
    expected = set(CALLS) if way == "edge" else {service}
    assert expected <= set(listed.split())
    if way == "straight":
        own = {name for name in listed.split() if name.startswith("marquee.")}
        assert {name.split(".")[1] for name in own} == {service.split(".")[1]}

    method, request = CALLS[service]
    status, described, problem = await grpcurl(address, "describe", f"{service}.{method}")
    assert status == 0, problem
    assert f"rpc {method}" in described

    status, answer, problem = await grpcurl(
        "-d", json.dumps(request), address, f"{service}/{method}", token=running.token
    )
    assert status == 0, problem
    assert isinstance(json.loads(answer), dict)


async def _json(running: RunningMesh, method: str, body: Any) -> httpx.Response:
    url = f"http://{running.stack.endpoints.edge}/{method}"
    headers = {"authorization": f"Bearer {running.token}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        return await client.post(url, json=body)


@pytest.mark.parametrize("way", ["edge", "straight"])
async def test_without_a_token_there_is_nothing_but_reflection(
    running: RunningMesh, way: str
) -> None:
    for service, (method, request) in CALLS.items():
        edge = running.stack.endpoints.edge
        address = edge if way == "edge" else _service_address(running, service)
        status, _, problem = await grpcurl(
            "-d", json.dumps(request), address, f"{service}/{method}"
        )
        assert status != 0
        assert "Unauthenticated" in problem
        assert "TOKEN_MISSING" in problem


async def test_json_recommendations_are_explained(running: RunningMesh) -> None:
    response = await _json(
        running,
        "marquee.reco.v1.RecommendationService/Recommend",
        {"userId": "196", "limit": 5, "explain": True},
    )
    assert response.status_code == 200, response.text
    movies = response.json()["recommendations"]
    assert len(movies) == 5
    for movie in movies:
        assert movie["source"] == "SOURCE_PERSONAL"
        assert movie["movie"]["title"]
        total = sum(part.get("value", 0.0) for part in movie["contributions"])
        assert total == pytest.approx(movie["score"], abs=1e-5)


@pytest.mark.parametrize(("method", "request_body", "field"), BAD)
async def test_a_bad_request_names_the_field(
    running: RunningMesh, method: str, request_body: dict[str, Any], field: str
) -> None:
    response = await _json(running, method, request_body)
    assert response.status_code == 400, response.text
    _assert_names(response.json(), field)

    for address in (running.stack.endpoints.edge, _service_address(running, method)):
        status, _, problem = await grpcurl(
            "-d", json.dumps(request_body), address, method, token=running.token
        )
        assert status != 0
        assert "InvalidArgument" in problem
        assert f'"field": "{field}"' in problem or f"{field}:" in problem


async def test_an_unknown_field_of_the_json_form_is_named(running: RunningMesh) -> None:
    response = await _json(
        running, "marquee.user.v1.UserService/GetUser", {"user_id": "1", "colour": "red"}
    )
    assert response.status_code == 400, response.text
    _assert_names(response.json(), "colour")


def _assert_names(status: dict[str, Any], field: str) -> None:
    assert status["code"] == 3
    bad_request = next(
        detail for detail in status["details"] if detail["@type"].endswith("BadRequest")
    )
    assert field in [violation["field"] for violation in bad_request["fieldViolations"]]
