"""What listens at an address, found out without a protocol of its own."""

from __future__ import annotations

import socket
import ssl


def encrypts(host: str, port: int, *, timeout: float) -> bool | None:
    """Say whether connections to an address are encrypted; whose certificate is used does not matter here.

    Args:
        host: Name or address.
        port: Of TCP.
        timeout: Seconds to wait for each answer.

    Returns:
        None where nobody listens, or the name is not known.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        connection = socket.create_connection((host, port), timeout=timeout)
    except OSError:
        return None
    try:
        with connection, context.wrap_socket(connection, server_hostname=host):
            return True
    except OSError:  # ssl's errors are such
        return False
