"""TLS between real clients and servers: who is refused, and certificates replaced under load."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs
from support.certificates import Authority, Issued, Secret, replace

from mesh.peers import open_channel
from mesh.tls.files import CertificateError, TlsFiles

Serve = Callable[..., Awaitable[Any]]
Eventually = Callable[..., Awaitable[None]]
CHECK = health_pb2.HealthCheckRequest()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PATIENCE = 10.0
# Health checks are not retried: every failure is seen.


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the server has its files."""
    path = tmp_path / "server"
    path.mkdir()
    return path


def server_settings(home: Path, issued: Issued, clients: Authority | None = None) -> dict[str, Any]:
    files = issued.write(home)
    return {
        "tls_cert_file": files.certificate,
        "tls_key_file": files.key,
        "tls_client_ca_file": clients and clients.write(home, "clients"),
    }


def trusting(home: Path, authority: Authority, own: Issued | None = None) -> TlsFiles:
    """The files of a client."""
    home.mkdir(exist_ok=True)
    shown = own.write(home) if own else TlsFiles()
    return TlsFiles(shown.certificate, shown.key, authority.write(home))


async def check(channel: grpc.aio.Channel) -> None:
    reply = await health_pb2_grpc.HealthStub(channel).Check(CHECK, timeout=PATIENCE)
    assert reply.status == SERVING


async def check_anew(address: str, files: TlsFiles) -> None:
    """A call on a connection of its own."""
    async with open_channel(address, tls=files) as channel:
        await check(channel)


async def refused(address: str, files: TlsFiles | None) -> str:
    async with open_channel(address, tls=files) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(caught.value.details())


async def shown_serial(address: str, authority: Authority) -> int:
    """Returns the serial number of what a server shows in a new handshake."""

    def ask() -> int:
        context = ssl.create_default_context(cadata=authority.pem.decode())
        context.set_alpn_protocols(["h2"])
        host, _, port = address.rpartition(":")
        with (
            socket.create_connection((host, int(port)), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            shown = encrypted.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number

    return await asyncio.to_thread(ask)


def shows(address: str, authority: Authority, issued: Issued) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        with contextlib.suppress(ssl.SSLCertVerificationError):
            return await shown_serial(address, authority) == issued.serial
        return False

    return condition


@contextlib.asynccontextmanager
async def load(address: str, files: TlsFiles) -> AsyncIterator[list[int]]:
    """Calls all the time, on connections that stay and on new ones; any failure fails the test.

    Yields:
        One entry per finished call.
    """
    finished: list[int] = []
    end = asyncio.Event()

    async def on_one_connection() -> None:
        async with open_channel(address, tls=files) as channel:
            while not end.is_set():
                await check(channel)
                finished.append(1)
                await asyncio.sleep(0.005)

    async def on_new_connections() -> None:
        while not end.is_set():
            await check_anew(address, files)
            finished.append(1)
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as callers:
        for work in (on_one_connection, on_one_connection, on_new_connections):
            callers.create_task(work())
        try:
            yield finished
        finally:
            end.set()


async def more(finished: list[int], count: int = 50) -> None:
    """Waits until that many more calls have finished."""
    goal = len(finished) + count
    async with asyncio.timeout(60):
        while len(finished) < goal:
            await asyncio.sleep(0.02)


class TestTls:
    async def test_a_call_and_a_health_check(
        self, serve: Serve, home: Path, tmp_path: Path, authority: Authority
    ) -> None:
        running = await serve(**server_settings(home, authority.issue()))
        await check_anew(running.address, trusting(tmp_path, authority))
        port = running.address.rpartition(":")[2]
        await check_anew(f"localhost:{port}", trusting(tmp_path, authority))

    async def test_an_intermediate_is_sent_along(
        self, serve: Serve, home: Path, tmp_path: Path, authority: Authority
    ) -> None:
        intermediate = Authority("intermediate", parent=authority)
        running = await serve(**server_settings(home, intermediate.issue()))
        await check_anew(running.address, trusting(tmp_path, authority))

    async def test_a_server_of_another_authority_is_refused(
        self, serve: Serve, home: Path, tmp_path: Path, authority: Authority
    ) -> None:
        running = await serve(**server_settings(home, authority.issue()))
        details = await refused(running.address, trusting(tmp_path, Authority("another")))
        assert "CERTIFICATE_VERIFY_FAILED" in details

    async def test_a_server_of_another_name_is_refused(
        self, serve: Serve, home: Path, tmp_path: Path, authority: Authority
    ) -> None:
        issued = authority.issue(hosts=["mesh.test", "192.0.2.1"])
        running = await serve(**server_settings(home, issued))
        details = await refused(running.address, trusting(tmp_path, authority))
        assert "Hostname Verification Check failed" in details

    async def test_plain_text_is_refused_and_harms_nobody(
        self, serve: Serve, home: Path, tmp_path: Path, authority: Authority
    ) -> None:
        running = await serve(**server_settings(home, authority.issue()))
        await refused(running.address, None)
        await check_anew(running.address, trusting(tmp_path, authority))

    async def test_a_plain_server_is_refused(
        self, serve: Serve, tmp_path: Path, authority: Authority
    ) -> None:
        running = await serve()
        await refused(running.address, trusting(tmp_path, authority))

    @pytest.mark.parametrize(
        ("version", "taken"),
        [
            (ssl.TLSVersion.TLSv1_1, False),
            (ssl.TLSVersion.TLSv1_2, True),
            (ssl.TLSVersion.TLSv1_3, True),
        ],
    )
    async def test_versions_below_1_2_are_refused(
        self,
        version: ssl.TLSVersion,
        taken: bool,
        serve: Serve,
        home: Path,
        authority: Authority,
    ) -> None:
        running = await serve(**server_settings(home, authority.issue()))
        reply = await asyncio.to_thread(first_reply, running.address, hello(version))
        assert (reply[:1] == b"\x16") is taken, "22: a handshake goes on"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def hello(version: ssl.TLSVersion) -> bytes:
    """Returns the ClientHello of a client that speaks only one version."""
    context = ssl.create_default_context()
    with pytest.warns() if version < ssl.TLSVersion.TLSv1_2 else contextlib.nullcontext():
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    said = out.read()
    assert said[9:11] == min(version, ssl.TLSVersion.TLSv1_2).to_bytes(2, "big")
    return said


def first_reply(address: str, sent: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(sent)
        return connection.recv(4096)


class TestMutualTls:
    async def test_who_is_known_and_who_is_not(
        self, serve: Serve, home: Path, tmp_path: Path, authority: Authority
    ) -> None:
        clients, foreign = Authority("clients"), Authority("foreign")
        running = await serve(**server_settings(home, authority.issue(), clients))
        await check_anew(running.address, trusting(tmp_path / "1", authority, clients.issue()))
        await refused(running.address, trusting(tmp_path / "2", authority))
        await refused(running.address, trusting(tmp_path / "3", authority, foreign.issue()))
        await check_anew(running.address, trusting(tmp_path / "1", authority, clients.issue()))

    async def test_who_was_known_is_not_let_in_after_a_rotation(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        old, new = Authority("clients"), Authority("new clients")
        settings = server_settings(home, authority.issue(), old)
        running = await serve(**settings)
        of_old = trusting(tmp_path / "old", authority, old.issue())
        of_new = trusting(tmp_path / "new", authority, new.issue())
        bundle = settings["tls_client_ca_file"]

        async def answers(files: TlsFiles) -> bool:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await check_anew(running.address, files)
                return True
            return False

        async with open_channel(running.address, tls=of_old) as existing:
            await check(existing)
            assert not await answers(of_new)
            replace(bundle, old.pem + new.pem)
            await eventually(lambda: answers(of_new))
            assert await answers(of_old)
            replace(bundle, new.pem)

            async def old_is_refused() -> bool:
                return not await answers(of_old)

            await eventually(old_is_refused)
            assert await answers(of_new)
            await check(existing)


class TestServerReload:
    async def test_under_load_no_call_fails(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        issued = authority.issue()
        secret = Secret(home / "secret", {"tls.crt": issued.certificate, "tls.key": issued.key})
        running = await serve(
            tls_cert_file=secret.directory / "tls.crt", tls_key_file=secret.directory / "tls.key"
        )
        async with load(running.address, trusting(tmp_path, authority)) as finished:
            await more(finished)
            assert await shown_serial(running.address, authority) == issued.serial
            for _ in range(3):
                new = authority.issue()
                secret.swap({"tls.crt": new.certificate, "tls.key": new.key})
                await eventually(shows(running.address, authority, new))
                await more(finished)

    async def test_a_connection_outlives_the_certificate_it_began_with(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        running = await serve(**server_settings(home, authority.issue()))
        files = trusting(tmp_path, authority)
        async with open_channel(running.address, tls=files) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(CHECK)
            assert (await watch.read()).status == SERVING
            other = Authority("another")
            new = other.issue()
            new.write(home)
            await eventually(shows(running.address, other, new))
            await running.server.set_serving(False)
            assert (await watch.read()).status == NOT_SERVING
            await running.server.set_serving(True)
            await check(channel)

    async def test_a_bad_replacement_leaves_the_old_one(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        issued, new = authority.issue(), authority.issue()
        settings = server_settings(home, issued)
        certificate = settings["tls_cert_file"]
        running = await serve(**settings)
        with capture_logs() as logged:
            replace(certificate, new.certificate)  # but not its key

            async def warned() -> bool:
                return any("not reloaded" in line["event"] for line in logged)

            await eventually(warned)
            await check_anew(running.address, trusting(tmp_path, authority))
            assert await shown_serial(running.address, authority) == issued.serial
            await asyncio.sleep(2.5)  # long enough for more warnings
        assert len([line for line in logged if line["log_level"] == "warning"]) == 1
        new.write(home)
        await eventually(shows(running.address, authority, new))


class TestClientReload:
    async def test_an_authority_is_replaced_under_load(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        new = Authority("new")
        running = await serve(**server_settings(home, authority.issue()))
        files = trusting(tmp_path, authority)
        assert files.authorities is not None
        async with load(running.address, files) as finished:
            await more(finished)
            with capture_logs() as logged:
                replace(files.authorities, authority.pem + new.pem)
                await eventually(reloads(logged, 2))
            issued = new.issue()
            issued.write(home)
            await eventually(shows(running.address, new, issued))
            await more(finished)
            with capture_logs() as logged:
                replace(files.authorities, new.pem)
                await eventually(reloads(logged, 2))
            await more(finished)

    async def test_calls_under_way_end_on_the_old_channel(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        clients, new_clients = Authority("clients"), Authority("new clients")
        settings = server_settings(home, authority.issue(), clients)
        running = await serve(**settings)
        files = trusting(tmp_path, authority, clients.issue())
        async with open_channel(running.address, tls=files) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(CHECK)
            assert (await watch.read()).status == SERVING
            # The server stops to trust what this channel shows; that is then replaced, too.
            replace(settings["tls_client_ca_file"], new_clients.pem)
            replacement = new_clients.issue()

            async def only_new_ones_are_taken() -> bool:
                other = trusting(tmp_path / "other", authority, replacement)
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await check_anew(running.address, other)
                    return True
                return False

            await eventually(only_new_ones_are_taken)
            with capture_logs() as logged:
                replacement.write(tmp_path)
                await eventually(reloads(logged, 1))
            await check(channel)
            assert await health.Check(CHECK, timeout=PATIENCE), "a stub made before"
            await running.server.set_serving(False)
            assert (await watch.read()).status == NOT_SERVING, "the stream goes on"
            watch.cancel()

    async def test_a_bad_replacement_leaves_the_old_one(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        running = await serve(**server_settings(home, authority.issue()))
        files = trusting(tmp_path, authority)
        assert files.authorities is not None
        async with open_channel(running.address, tls=files) as channel:
            with capture_logs() as logged:
                replace(files.authorities, b"nothing")

                async def warned() -> bool:
                    return any("not reloaded" in line["event"] for line in logged)

                await eventually(warned)
            await check(channel)

    async def test_old_channels_are_closed(
        self,
        serve: Serve,
        home: Path,
        tmp_path: Path,
        authority: Authority,
        eventually: Eventually,
    ) -> None:
        running = await serve(**server_settings(home, authority.issue()))
        files = trusting(tmp_path, authority)
        assert files.authorities is not None
        async with open_channel(running.address, tls=files) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(CHECK)
            await watch.read()
            with capture_logs() as logged:
                replace(files.authorities, authority.pem + Authority().pem)
                await eventually(reloads(logged, 1))
            await check(channel)
            assert connections_to(running.address) == 2
            watch.cancel()
            del watch

            async def one_is_left() -> bool:
                # gRPC keeps a connection as long as a call on it exists, and calls of channels
                # with interceptors are cycles of references.
                gc.collect()
                return connections_to(running.address) == 1

            await eventually(one_is_left)
            await check(channel)

    async def test_files_that_cannot_be_used(self, tmp_path: Path) -> None:
        with pytest.raises(CertificateError, match="cannot be read"):
            open_channel("127.0.0.1:1", tls=TlsFiles(authorities=tmp_path / "ca.crt"))


def connections_to(address: str) -> int:
    """Returns how many connections this process has opened to an address."""
    port = int(address.rpartition(":")[2])
    found = psutil.Process().net_connections("tcp")
    return sum(
        1
        for connection in found
        if connection.raddr and connection.raddr.port == port and connection.status == "ESTABLISHED"
    )


def reloads(logged: list[Any], count: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return sum(line["event"] == "certificates reloaded" for line in logged) >= count

    return condition


async def grpcurl(*arguments: str) -> tuple[int, str]:
    """Runs grpcurl and returns its status and what it says."""
    beside = Path(sys.executable).with_name("grpcurl")
    command = str(beside) if beside.exists() else shutil.which("grpcurl")
    if command is None:
        pytest.skip("grpcurl is not installed")
    process = await asyncio.create_subprocess_exec(
        command,
        *("-max-time", "20", "-connect-timeout", "5"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_grpcurl(serve: Serve, home: Path, tmp_path: Path, authority: Authority) -> None:
    clients = Authority("clients")
    running = await serve(**server_settings(home, authority.issue(), clients))
    files = trusting(tmp_path, authority, clients.issue())
    trust = ("-cacert", str(files.authorities))
    own = ("-cert", str(files.certificate), "-key", str(files.key))
    status, said = await grpcurl(*trust, *own, running.address, "grpc.health.v1.Health/Check")
    assert (status, json.loads(said)) == (0, {"status": "SERVING"})
    status, said = await grpcurl(*trust, *own, running.address, "list")
    assert status == 0
    assert "marquee.user.v1.UserService" in said.splitlines()
    wrong = (trust, own, ("-plaintext",))
    for status, said in await asyncio.gather(
        *(grpcurl(*flags, running.address, "list") for flags in wrong)
    ):
        assert status != 0
        assert "marquee" not in said
