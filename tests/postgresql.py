"""A real PostgreSQL for tests: a server of its own on a free loopback port, durable, with a password."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

PASSWORD: Final = "s3cr3t-w0rd"  # noqa: S105  # of a server that lives as long as the tests
PACKAGE: Final = Path("/usr/lib/postgresql")
DEADLINE: Final = 60.0
PORTS: Final = 5
"""Ports that are tried: another process may take a free one before the server does."""

_WHILE_TESTS_LIVE: Final = 'exec 3<&0; (read -r _ <&3; kill -INT $$) & exec "$@" 3<&- </dev/null'
"""Runs a command, and ends it (SIGINT is a fast shutdown) once nobody holds the pipe any more: no server outlives tests
that were killed."""

_UNPRIVILEGED: Final = ("postgres", "nobody")
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "lc_messages": "C",
}


def binaries() -> Path:
    """The folder of the newest installed server; a test that needs one fails with what to install."""
    found = sorted(PACKAGE.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    elsewhere = shutil.which("initdb")
    if not found and elsewhere is None:
        pytest.fail(
            f"This test runs a PostgreSQL server, and there is no initdb in {PACKAGE}/*/bin or on PATH. Install it:"
            " apt-get install postgresql (its binaries are enough, no cluster is needed). Without it,"
            " -m 'not postgresql' leaves these tests out.",
            pytrace=False,
        )
    return (found[-1] if found else Path(str(elsewhere)).resolve()).parent


class Server:
    """One server with its data in a folder of its own, both gone once it is stopped."""

    def __init__(self) -> None:
        self._binaries = binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="otel-ml-metrics-postgresql-"))
        self._identity = _identity()
        self._make()
        self._process, self.port = self._start()

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of an administrator; each statement is a transaction."""
        return psycopg.connect(self.url(database).replace("+psycopg", ""), autocommit=True)

    def execute(self, statement: str) -> None:
        """Run one statement as an administrator."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def new_database(self) -> str:
        """The name of a new, empty database."""
        name = f"ledger_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def stop(self) -> None:
        """End the server and remove its data."""
        try:
            self._process.communicate(timeout=DEADLINE)  # closes the pipe
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self) -> None:
        data, secret = self._folder / "data", self._folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if self._identity:
            for path in (self._folder, secret):
                shutil.chown(path, self._identity["user"])
        arguments = ("--username=postgres", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8")
        command = [str(self._binaries / "initdb"), f"--pgdata={data}", "--locale=C", "--no-sync", *arguments]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, timeout=DEADLINE, check=False, **self._identity
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _start(self) -> tuple[subprocess.Popen[bytes], int]:
        for _ in range(PORTS):
            port = _free_port()
            settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
            command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data"), *settings]
            with (self._folder / "log").open("ab") as log:
                process = subprocess.Popen(
                    ["sh", "-c", _WHILE_TESTS_LIVE, "sh", *command],
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    **self._identity,
                )
            if self._answers(process, port):
                return process, port
        raise AssertionError((self._folder / "log").read_text(encoding="utf-8"))

    def _answers(self, process: subprocess.Popen[bytes], port: int) -> bool:
        """Wait until the server takes connections; False if it has ended instead."""
        self.port = port
        deadline = time.monotonic() + DEADLINE
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError):
                self.connect().close()
                return True
        return False


def _identity() -> dict[str, Any]:
    """As whom the server runs: initdb refuses the superuser."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in _UNPRIVILEGED if name in known)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
