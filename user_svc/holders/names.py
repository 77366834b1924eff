"""The holders by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from marquee.user.v1 import user_service_pb2 as pb

USER: Final = "user"
RECO: Final = "reco"
NOTIFY: Final = "notify"

NUMBERS: Final[Mapping[str, pb.Holder]] = {
    USER: pb.HOLDER_USER,
    RECO: pb.HOLDER_RECO,
    NOTIFY: pb.HOLDER_NOTIFY,
}
