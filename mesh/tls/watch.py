"""Keeps what is read from certificate files up to date, and tells how long it is still valid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from opentelemetry import metrics

from mesh import times
from mesh.telemetry.setup import SCOPE
from mesh.tls.files import CertificateError, Certificates, Material, TlsFiles

_log = structlog.get_logger(__name__)
_INTERVAL_SECONDS = 1.0
SERVER_ROLES = ("server", "client_ca")
PEER_ROLES = ("peer", "peer_ca")
_SOON = timedelta(days=7)
_WARNED_EVERY = timedelta(days=1)


class CertificateWatch:
    """The last usable content of certificate files.

    Once a second, and on the event loop, the files are read and their bytes compared: that sees
    every way of replacing a file, also where a directory's symbolic link is swapped, costs well
    under a millisecond, and needs no support of the file system. What cannot be used is not taken;
    the old content stays in use, with one warning per cause.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        roles: tuple[str, str],
        now: Callable[[], datetime] = times.now,
    ) -> None:
        """Reads the files for the first time.

        Args:
            files: What to read.
            roles: What the own certificate and the bundle of authorities are called in logs and
                metrics.
            now: The clock by which it is told how long certificates are still valid.

        Raises:
            CertificateError: A file cannot be used.
        """
        self._files = files
        self._roles = roles
        self._now = now
        self._contents = files.contents()
        self._material = files.parse(self._contents)
        self._rejection = ""
        self._rejection_logged = False
        self._warned: dict[str, datetime] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._listener: Callable[[Material], None] | None = None
        self._expiry = metrics.get_meter(SCOPE).create_gauge(
            "marquee.tls.certificate.expiry",
            unit="s",
            description="How long a certificate in use is still valid; negative once it is not",
        )
        self._tell_expiry()

    @property
    def material(self) -> Material:
        """What is in use. May be read from any thread."""
        return self._material

    def start(self, listener: Callable[[Material], None] | None = None) -> None:
        """Begins to follow the files, on the running event loop.

        Args:
            listener: Called with what is in use from then on, each time that it changes.
        """
        self._listener = listener
        self._schedule()

    def stop(self) -> None:
        """Ends following them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def refresh(self) -> bool:
        """Reads the files again.

        Returns:
            Whether what is in use has changed.
        """
        try:
            contents = self._files.contents()
            changed = contents != self._contents
            if changed:
                self._material = self._files.parse(contents)
                self._contents = contents
        except CertificateError as error:
            self._reject(str(error))
            changed = False
        else:
            self._rejection = ""
        if changed:
            for role, certificates in self._in_use():
                self._warned.pop(role, None)
                _log.info(
                    "certificates reloaded",
                    role=role,
                    serial=f"{certificates.first.serial_number:x}",
                    expires=certificates.expiry.isoformat(),
                )
        self._tell_expiry()
        return changed

    def _tick(self) -> None:
        # First, so that nothing that goes wrong below ends the following.
        self._schedule()
        if self.refresh() and self._listener is not None:
            self._listener(self._material)

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL_SECONDS, self._tick)

    def _reject(self, why: str) -> None:
        # A pair that is just being replaced, one file after the other, is not worth a warning.
        if why != self._rejection:
            self._rejection = why
            self._rejection_logged = False
        elif not self._rejection_logged:
            self._rejection_logged = True
            _log.warning("certificates are not reloaded, the old ones stay in use", reason=why)

    def _in_use(self) -> list[tuple[str, Certificates]]:
        found = zip(self._roles, (self._material.chain, self._material.authorities), strict=True)
        return [(role, certificates) for role, certificates in found if certificates is not None]

    def _tell_expiry(self) -> None:
        now = self._now()
        for role, certificates in self._in_use():
            left = certificates.expiry - now
            self._expiry.set(left.total_seconds(), {"role": role})
            warned = self._warned.get(role)
            if left < _SOON and (warned is None or now - warned >= _WARNED_EVERY):
                self._warned[role] = now
                _log.warning(
                    "a certificate expires soon" if left > timedelta() else "a certificate expired",
                    role=role,
                    expires=certificates.expiry.isoformat(),
                    hours=int(left / timedelta(hours=1)),
                )
