"""Tokens, keys and certificates of a running stack, with two replicas of one service."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import jwt
import pytest
from cryptography import x509
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1.user_service_pb2_grpc import UserServiceStub

from cli.address import edge_of
from cli.commands.cert import cert
from cli.mesh_client import connect
from cli.scopes import PERSON
from devstack.certificates import LOOPBACK, Authority
from devstack.components import ENVOY, KAFKA, MONGODB, USER, StackConfig
from devstack.issuer import CACHE_S, SIGNS_AFTER_S
from devstack.ports import Ports
from devstack.stack import Stack
from mesh.peers import open_channel
from mesh.tls.files import TlsFiles

COMPONENTS = frozenset({MONGODB, KAFKA, USER, ENVOY})
PATIENCE_S = 30.0

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def running(directory: Path, **more: bool | int) -> AsyncIterator[Stack]:
    replicas = int(more.get("replicas", 1))
    config = StackConfig(
        data_dir=directory, ports=Ports.free(replicas=replicas), components=COMPONENTS, **more
    )
    stack = Stack(config)
    await stack.start()
    try:
        yield stack
    finally:
        await stack.stop()


async def outcome(
    address: str, token: str, tls: TlsFiles | None = None, user_id: str = "ada"
) -> str:
    """OK, or the reason of the error, of a call that asks for a user."""
    async with open_channel(address, token_source=lambda: token, tls=tls) as channel:
        try:
            await UserServiceStub(channel).GetUser(pb.GetUserRequest(user_id=user_id), timeout=10)
        except grpc.aio.AioRpcError as error:
            status = rpc_status.from_call(error)
            info = error_details_pb2.ErrorInfo()
            reasons = [
                info.reason for each in (status.details if status else ()) if each.Unpack(info)
            ]
            return reasons[0] if reasons else error.code().name
    return "OK"


async def test_keys_are_rotated_and_replicas_restarted_without_anybody_noticing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "data", replicas=2) as stack, connect(edge_of(stack)) as mesh:
        await mesh.users.CreateUser(
            pb.CreateUserRequest(user=user_pb2.User(id="ada", display_name="Ada"))
        )
        places = (stack.endpoints.edge, *stack.endpoints.replicas[USER])
        assert len(places) == 3
        ours, theirs = (stack.issuer.mint(who, PERSON, 600) for who in ("ada", "bob"))
        for place in places:
            assert await outcome(place, ours) == "OK"
            assert await outcome(place, theirs) == "SUBJECT_MISMATCH"

        answers: Counter[str] = Counter()

        async def call() -> None:
            while True:
                try:
                    await mesh.users.GetUser(pb.GetUserRequest(user_id="ada"), timeout=10)
                    answers["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    answers[f"{error.code().name}: {error.details()}"] += 1
                await asyncio.sleep(0.02)

        calling = asyncio.create_task(call())
        pids = {name: stack.pid(name) for name in ("user-0", "user-1")}
        (old,) = (key.kid for key in stack.issuer.known_keys())
        new = stack.issuer.rotate()
        await stack.rolling_restart(USER)
        assert not {stack.pid(name) for name in pids} & set(pids.values())
        await asyncio.sleep(SIGNS_AFTER_S)
        assert stack.issuer.signing_kid() == new
        after = stack.issuer.mint("ada", PERSON, 600)
        for place in places:
            assert await outcome(place, after) == "OK"
            assert await outcome(place, ours) == "OK"

        stack.issuer.withdraw(old)
        async with asyncio.timeout(CACHE_S + 10):
            for place in places:
                while await outcome(place, ours) != "TOKEN_KEY_UNKNOWN":
                    await asyncio.sleep(0.2)
        for place in places:
            assert await outcome(place, after) == "OK"
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        assert set(answers) == {"OK"}, answers
        assert answers["OK"] > 100
        # The services' own tokens followed.
        own = (stack.directory.tokens / "user.jwt").read_text()
        assert jwt.get_unverified_header(own)["kid"] == new


async def test_with_mutual_tls_nobody_gets_in_without_a_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    async with running(data, tls=True, mtls=True) as stack:
        token = stack.issuer.mint("ada", PERSON, 600)
        edge, straight = stack.endpoints.edge, stack.endpoints.user
        async with connect(edge_of(stack)) as mesh:
            await mesh.users.CreateUser(
                pb.CreateUserRequest(user=user_pb2.User(id="ada", display_name="Ada"))
            )

        authority = Authority(data / "tls")
        capsys.readouterr()
        cert("ada", data_dir=data)
        certificate, key = map(Path, capsys.readouterr().out.split())
        ours = TlsFiles(certificate, key, authority.certificate)
        foreign = Authority(tmp_path / "foreign")
        foreign.prepare()
        theirs = foreign.issue("ada", (), timedelta(hours=1))
        for address in (edge, straight):
            assert await outcome(address, token, ours) == "OK"
            without = TlsFiles(authorities=authority.certificate)
            stranger = TlsFiles(theirs.certificate, theirs.key, authority.certificate)
            misled = TlsFiles(certificate, key, foreign.certificate)
            for tls in (without, stranger, misled, None):
                assert await outcome(address, token, tls) == "UNAVAILABLE"
            assert await outcome(address, "", ours) != "OK"

        # A renewed certificate is taken up without a restart, by Envoy and by the service.
        for name, address in ((ENVOY, edge), (USER, straight)):
            before = await asyncio.to_thread(serial_at, address, ours)
            authority.issue(name, (*LOOPBACK, name), timedelta(hours=1))
            async with asyncio.timeout(PATIENCE_S):
                while await asyncio.to_thread(serial_at, address, ours) == before:
                    await asyncio.sleep(0.2)
        assert await outcome(edge, token, ours) == "OK"


def serial_at(address: str, tls: TlsFiles) -> int:
    """The serial number of the certificate that a server shows."""
    assert tls.certificate is not None
    context = ssl.create_default_context(cafile=tls.authorities)
    context.load_cert_chain(tls.certificate, tls.key)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number
