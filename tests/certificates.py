"""A certificate authority of a test run, so that no key lies in the repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """Files of a certificate authority, of a client it knows, and of a receiver at 127.0.0.1."""

    certificate: str
    client_key: str
    client_certificate: str
    server_key: str
    server_certificate: str

    @classmethod
    def founded(cls, folder: Path) -> Self:
        """Make the authority, and let it issue a certificate for each side."""
        issuer = trustme.CA()
        server, client = issuer.issue_cert("127.0.0.1"), issuer.issue_cert("flow@example.org")
        issuer.cert_pem.write_to_path(folder / "ca.pem")
        for name, leaf in (("server", server), ("client", client)):
            leaf.private_key_pem.write_to_path(folder / f"{name}.key")
            leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        names = ("ca.pem", "client.key", "client.pem", "server.key", "server.pem")
        return cls(*(str(folder / name) for name in names))
