"""A running stack: where its parts are, and how to call them."""

from __future__ import annotations

from rich.table import Table

from cli.views.text import plain_table
from devstack.stack import Progress
from devstack.state import Endpoints


def progress_line(step: Progress) -> str:
    """One step of a component on its way up or down; empty for those that need no line."""
    if step.state in ("ready", "stopped"):
        return f"  {step.component:<8} {step.state} after {step.seconds:.1f} s"
    if step.state == "killed":
        return f"  {step.component:<8} killed after {step.seconds:.1f} s: it did not stop by itself"
    if step.state == "external":
        return f"  {step.component:<8} yours, not started here"
    return ""


def endpoint_table(endpoints: Endpoints) -> Table:
    """Where everything listens."""
    table = plain_table()
    table.add_column("what")
    table.add_column("where", overflow="fold")
    table.add_column("speaks")
    rows = (
        ("edge", endpoints.edge, "gRPC, gRPC-Web, JSON"),
        ("edge admin", f"http://{endpoints.edge_admin}", "Envoy's admin pages"),
        ("user service", _replicas(endpoints, "user"), "gRPC"),
        ("recommendation service", _replicas(endpoints, "reco"), "gRPC"),
        ("notification service", _replicas(endpoints, "notify"), "gRPC"),
        ("MongoDB", without_secrets(endpoints.mongodb_uri), "MongoDB wire protocol"),
        ("Kafka", endpoints.kafka_bootstrap, "Kafka protocol"),
        ("traces", endpoints.otlp or "off", "OTLP/gRPC"),
    )
    for row in rows:
        table.add_row(*row)
    return table


def examples(endpoints: Endpoints) -> list[tuple[str, str]]:
    """Commands to paste, each with what it does."""
    recommend = "marquee.reco.v1.RecommendationService/Recommend"
    create = "marquee.user.v1.UserService/CreateUser"
    unread = "marquee.notify.v1.NotificationService/GetUnreadCount"
    wanted = '{"user_id":"196","limit":5,"explain":true}'
    person = '{"user":{"id":"ada","display_name":"Ada"}}'
    return [
        (
            "every service and method, through the edge",
            f"grpcurl -plaintext {endpoints.edge} list",
        ),
        (
            "what to watch (after `marquee load` and `marquee train`)",
            f"grpcurl -plaintext -d '{wanted}' {endpoints.edge} {recommend}",
        ),
        (
            "the same as JSON over HTTP",
            f"curl -s http://{endpoints.edge}/{recommend} "
            f"-H 'content-type: application/json' -d '{wanted}'",
        ),
        (
            "the user service itself",
            f"grpcurl -plaintext -d '{person}' {endpoints.user} {create}",
        ),
        (
            "the recommendation service itself",
            f"grpcurl -plaintext -d '{{\"limit\":5}}' {endpoints.reco} "
            "marquee.reco.v1.RecommendationService/Trending",
        ),
        (
            "the notification service itself",
            f'grpcurl -plaintext -d \'{{"user_id":"196"}}\' {endpoints.notify} {unread}',
        ),
    ]


def _replicas(endpoints: Endpoints, service: str) -> str:
    only: str = getattr(endpoints, service)
    return "\n".join(endpoints.replicas.get(service, (only,)))


def without_secrets(uri: str) -> str:
    """Returns a connection string without user and password."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
