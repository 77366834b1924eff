"""What the parts of a stack prove themselves with, kept fresh while it runs."""

from __future__ import annotations

import asyncio

import structlog

from devstack.certificates import Authority, Certificates
from devstack.components import CERTIFICATES, PEER_SCOPES
from devstack.errors import DevstackError
from devstack.issuer import Issuer, ServiceTokens
from devstack.state import DataDirectory

_log = structlog.get_logger(__name__)
_LOOK_EVERY_S = 1.0


class Identities:
    """The tokens and certificates of one stack.

    Args:
        directory: Where they are kept.
        tls: Whether there are certificates.
    """

    def __init__(self, directory: DataDirectory, *, tls: bool) -> None:
        self.issuer = Issuer(directory.auth)
        self._tokens = ServiceTokens(self.issuer, directory.tokens, PEER_SCOPES)
        self._authority = Authority(directory.tls)
        self._certificates = Certificates(self._authority, CERTIFICATES) if tls else None
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Makes what is not there yet, and begins to renew it.

        Raises:
            DevstackError: What an earlier stack left cannot be used, or a file cannot be written.
        """
        try:
            self.issuer.prepare()
            if self._certificates is not None:
                self._authority.prepare()
            self._renew()
        except OSError as error:
            raise DevstackError(f"cannot write keys and certificates: {error}") from error
        self._keeping = asyncio.create_task(self._keep(), name="renew identities")

    async def stop(self) -> None:
        """Ends the renewal; harmless when it does not run."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None

    async def _keep(self) -> None:
        told: set[type[Exception]] = set()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                self._renew()
            except Exception as error:
                # What is on the disk may be amiss for a while; what was made before lasts long
                # enough, but not for ever: a person must hear of it, though not each second.
                if type(error) not in told:
                    told.add(type(error))
                    _log.warning("tokens and certificates are not renewed", why=str(error))
            else:
                told.clear()

    def _renew(self) -> None:
        self._tokens.renew()
        if self._certificates is not None:
            self._certificates.renew()
