from __future__ import annotations

import socket

import pytest

from devstack.components import ALL
from devstack.errors import DevstackError, PortInUseError
from devstack.ports import Ports, ensure_free

HOST = "127.0.0.1"


def test_the_defaults_are_the_documented_ones():
    assert Ports() == Ports(
        edge=8080,
        edge_admin=9901,
        user=50051,
        reco=50052,
        notify=50053,
        mongodb=27117,
        kafka=19092,
        otlp=14317,
    )


def test_an_offset_moves_every_port():
    moved = Ports.shifted(100)

    before, after = Ports().by_name(), moved.by_name()
    assert {name: after[name] - port for name, port in before.items()} == dict.fromkeys(before, 100)
    assert len(before) == 8


@pytest.mark.parametrize("offset", [20_000, -9_000])
def test_an_offset_out_of_range_is_refused_in_one_line(offset):
    with pytest.raises(DevstackError, match=f"--port-offset {offset}") as raised:
        Ports.shifted(offset)

    assert "\n" not in str(raised.value)


def test_free_ports_are_different_and_can_be_used():
    ports = Ports.free()

    assert len(set(ports.by_name().values())) == 8
    ensure_free(ports, ALL, HOST)


def test_each_replica_has_a_port_of_its_own():
    assert [Ports.shifted(1, replicas=3).of(f"reco-{n}") for n in range(3)] == [50053, 50063, 50073]

    ports = Ports.free(replicas=3)
    names = [f"{service}-{n}" for service in ("user", "reco", "notify") for n in range(3)]
    assert len({ports.of(name) for name in names}) == 9
    assert ports.of("user-0") == ports.user


def test_an_offset_must_have_room_for_every_replica():
    Ports.shifted(15_400)
    with pytest.raises(DevstackError, match="user-9"):
        Ports.shifted(15_400, replicas=10)


def test_the_port_of_envoy_is_that_of_the_edge():
    assert Ports().of("envoy") == 8080
    assert Ports().of("kafka") == 19092


@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_held_port_is_named_with_its_component_and_a_way_out(reuse_port):
    ports = Ports.free()
    with socket.socket() as holder:
        if reuse_port:  # as gRPC and Envoy do: two could share the port unnoticed
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((HOST, ports.reco))
        holder.listen()

        with pytest.raises(PortInUseError) as raised:
            ensure_free(ports, ALL, HOST)
        ensure_free(ports, ["user", "envoy"], HOST)

    assert str(raised.value) == (
        f"port {ports.reco} (reco, {HOST}) is already in use: stop the program that holds it, "
        "or move the whole stack with --port-offset N"
    )
