"""A running stack: where its parts are, and how to call them."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from rich.table import Table

from cli.views.text import plain_table
from devstack.stack import Progress
from devstack.state import DEFAULT_DIRECTORY, CallerTls, Endpoints, StackInfo


def progress_line(step: Progress) -> str:
    """One step of a component on its way up or down; empty for those that need no line."""
    if step.state in ("ready", "stopped"):
        return f"  {step.component:<8} {step.state} after {step.seconds:.1f} s"
    if step.state == "killed":
        return f"  {step.component:<8} killed after {step.seconds:.1f} s: it did not stop by itself"
    if step.state == "external":
        return f"  {step.component:<8} yours, not started here"
    return ""


def endpoint_table(info: StackInfo) -> Table:
    """Where everything listens."""
    endpoints = info.endpoints
    over = " over TLS" if info.tls else ""
    table = plain_table()
    table.add_column("what")
    table.add_column("where", overflow="fold")
    table.add_column("speaks")
    rows = (
        ("edge", endpoints.edge, f"gRPC, gRPC-Web, JSON{over}"),
        ("edge admin", f"http://{endpoints.edge_admin}", "Envoy's admin pages"),
        ("user service", _replicas(endpoints, "user"), f"gRPC{over}"),
        ("recommendation service", _replicas(endpoints, "reco"), f"gRPC{over}"),
        ("notification service", _replicas(endpoints, "notify"), f"gRPC{over}"),
        ("MongoDB", without_secrets(endpoints.mongodb_uri), "MongoDB wire protocol"),
        ("Kafka", endpoints.kafka_bootstrap, "Kafka protocol"),
        ("traces", endpoints.otlp or "off", "OTLP/gRPC"),
    )
    for row in rows:
        table.add_row(*row)
    return table


def examples(info: StackInfo, data_dir: Path) -> list[tuple[str, str]]:
    """Commands to paste, each with what it does.

    Args:
        info: The running stack.
        data_dir: Its directory, as the person names it.
    """
    endpoints = info.endpoints
    recommend = "marquee.reco.v1.RecommendationService/Recommend"
    trending = "marquee.reco.v1.RecommendationService/Trending"
    create = "marquee.user.v1.UserService/CreateUser"
    unread = "marquee.notify.v1.NotificationService/GetUnreadCount"
    wanted = '{"user_id":"196","limit":5,"explain":true}'
    person = '{"user":{"id":"196","display_name":"Ada"}}'
    bearer = '-H "authorization: Bearer $TOKEN"'
    asked = info.tls is not None and info.tls.asked_at_edge
    at_edge = f"grpcurl {_grpcurl_flags(info.tls, shows=asked)}"
    straight = f"grpcurl {_grpcurl_flags(info.tls, shows=True)} {bearer}"
    elsewhere = "" if data_dir == DEFAULT_DIRECTORY else f" --data-dir {quote(str(data_dir))}"
    scheme = "https" if info.tls else "http"
    return [
        ("a token for a person's own data", f"TOKEN=$(marquee token --user 196{elsewhere})"),
        ("every service and method, through the edge", f"{at_edge} {endpoints.edge} list"),
        (
            "what to watch (after `marquee load` and `marquee train`)",
            f"{at_edge} {bearer} -d '{wanted}' {endpoints.edge} {recommend}",
        ),
        (
            "the same as JSON over HTTP",
            f"curl -s{_curl_flags(info.tls)} {scheme}://{endpoints.edge}/{recommend} {bearer} "
            f"-H 'content-type: application/json' -d '{wanted}'",
        ),
        ("the user service itself", f"{straight} -d '{person}' {endpoints.user} {create}"),
        (
            "the recommendation service itself",
            f"{straight} -d '{{\"limit\":5}}' {endpoints.reco} {trending}",
        ),
        (
            "the notification service itself",
            f'{straight} -d \'{{"user_id":"196"}}\' {endpoints.notify} {unread}',
        ),
    ]


def _grpcurl_flags(tls: CallerTls | None, *, shows: bool) -> str:
    if tls is None:
        return "-plaintext"
    own = f" -cert {quote(tls.certificate)} -key {quote(tls.key)}" if shows else ""
    return f"-cacert {quote(tls.ca)}{own}"


def _curl_flags(tls: CallerTls | None) -> str:
    if tls is None:
        return ""
    own = f" --cert {quote(tls.certificate)} --key {quote(tls.key)}" if tls.asked_at_edge else ""
    return f" --cacert {quote(tls.ca)}{own}"


def _replicas(endpoints: Endpoints, service: str) -> str:
    only: str = getattr(endpoints, service)
    return "\n".join(endpoints.replicas.get(service, (only,)))


def without_secrets(uri: str) -> str:
    """Returns a connection string without user and password."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
