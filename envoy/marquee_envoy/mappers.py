"""Turns Envoy's own answers into those of the mesh, in the form in which the caller asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from google.rpc import code_pb2

from marquee_envoy.local_replies import LOCAL_REPLIES, LocalReply
from marquee_envoy.names import FAILURE, JWT_AUTHN, METADATA, typed
from marquee_envoy.status import ERROR_DOMAIN
from marquee_envoy.yaml import Tree

CONTENT_TYPE: Final = "content_type"
"""Where in the edge's metadata the request's original content type is."""
REFUSAL: Final = "refusal"
"""Where in the edge's metadata the token guard puts its reason."""
ANSWERED: Final = "answered"
"""Where in the edge's metadata the JSON guard says that it has written the answer itself."""

_NEVER: Final = "edge.never_set"
_NO_VALUE: Final[Tree] = {"string_match": {"exact": "never a value"}}


def note_of_the_form() -> Tree:
    """The filter that notes the content type before others change it."""
    return typed(
        "envoy.filters.http.header_to_metadata",
        "envoy.extensions.filters.http.header_to_metadata.v3.Config",
        request_rules=[
            {
                "header": "content-type",
                "on_header_present": {"metadata_namespace": METADATA, "key": CONTENT_TYPE},
            }
        ],
    )


def local_reply_config() -> Tree:
    """The connection manager's mapping of what it, and its filters, answer themselves."""
    return {"mappers": list(_mappers())}


def _mappers() -> Iterator[Tree]:
    yield {"filter": _noted(ANSWERED, {"bool_match": True})}
    yield from _refused_by_the_transcoder()
    for reply in LOCAL_REPLIES:
        meant = _any(_causes(reply))
        yield {
            "filter": _all(meant, IN_GRPC),
            "body": {"inline_string": reply.message},
            "headers_to_add": [
                _header("grpc-status", str(reply.code)),
                _header("grpc-status-details-bin", reply.as_details),
            ],
        }
        yield {
            # To Envoy grpc-web is no gRPC; without a body its filter leaves the headers alone.
            "filter": _all(meant, IN_GRPC_WEB),
            "status_code": 200,
            "body": {"inline_string": ""},
            "headers_to_add": [
                _header("content-type", "application/grpc-web+proto"),
                _header("grpc-status", str(reply.code)),
                _header("grpc-message", reply.message),
                _header("grpc-status-details-bin", reply.as_details),
            ],
        }
        status = {} if reply.http is None else {"status_code": reply.http}
        yield {
            "filter": meant,
            **status,
            "body_format_override": {"json_format": reply.as_json},
        }


def _refused_by_the_transcoder() -> Iterator[Tree]:
    # Its text begins with the path of the field.
    refused = "%LOCAL_REPLY_BODY%"
    yield {
        "filter": _all(
            _status_is(400),
            {"header_filter": {"header": {"name": "x-envoy-original-path", "present_match": True}}},
        ),
        "body_format_override": {
            "json_format": {
                "code": code_pb2.INVALID_ARGUMENT,
                "message": f"body: {refused}",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "INVALID_FIELD",
                        "domain": ERROR_DOMAIN,
                    },
                    {
                        "@type": "type.googleapis.com/google.rpc.BadRequest",
                        "fieldViolations": [{"field": "body", "description": refused}],
                    },
                ],
            }
        },
    }


def _causes(reply: LocalReply) -> Iterator[Tree]:
    for failures in reply.token_failures:
        span = {"start": failures.start, "end": failures.stop}
        yield _in_metadata(
            JWT_AUTHN, [FAILURE, "code"], {"double_match": {"range": span}}, if_absent=False
        )
    if reply.by_guard:
        yield _noted(REFUSAL, {"string_match": {"exact": reply.reason}})
    for status in reply.statuses:
        yield _status_is(status)


def _status_is(status: int) -> Tree:
    value = {"default_value": status, "runtime_key": _NEVER}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _noted(key: str, value: Tree, *, if_absent: bool = False) -> Tree:
    return _in_metadata(METADATA, [key], value, if_absent=if_absent)


def _in_metadata(namespace: str, path: list[str], value: Tree, *, if_absent: bool) -> Tree:
    matcher = {"filter": namespace, "path": [{"key": key} for key in path], "value": value}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": if_absent}}


def _any(filters: Iterable[Tree]) -> Tree:
    listed = list(filters)
    return listed[0] if len(listed) == 1 else {"or_filter": {"filters": listed}}


def _all(*filters: Tree) -> Tree:
    return {"and_filter": {"filters": list(filters)}}


def _content_type(pattern: str) -> Tree:
    return {"string_match": {"safe_regex": {"regex": pattern}}}


def _header(name: str, value: str) -> Tree:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _in_form(pattern: str) -> Tree:
    # What the connection manager refuses has passed no filter that could note its form.
    unnoted = _noted(CONTENT_TYPE, _NO_VALUE, if_absent=True)
    header = {"name": "content-type", **_content_type(pattern)}
    return _any(
        [
            _noted(CONTENT_TYPE, _content_type(pattern)),
            _all(unnoted, {"header_filter": {"header": header}}),
        ]
    )


IN_GRPC: Final = _in_form(r"application/grpc([+;].*)?")
"""Matches calls by gRPC."""

IN_GRPC_WEB: Final = _in_form(r"application/grpc-web.*")
"""Matches calls by grpc-web."""
