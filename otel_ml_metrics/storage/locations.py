"""Where files lie: a path of a local file system, or the URL of a folder in an object store. No I/O, no library."""

from __future__ import annotations

import re
from typing import Final

from otel_ml_metrics.errors import ConfigurationError

SCHEMES: Final = ("s3", "gs", "gcs", "abfs", "abfss")
_MAGIC: Final = re.compile(r"[*?\[]")


def is_url(location: str) -> bool:
    """Whether a location is a URL, and no path.

    >>> is_url("s3://bucket/predictions"), is_url("data/predictions")
    (True, False)
    """
    return "://" in location


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, authority (bucket or container) and the rest of a URL.

    >>> split_url("s3://bucket/data/predictions/")
    ('s3', 'bucket', 'data/predictions')
    """
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    return scheme, authority, path.rstrip("/")


def checked_location(where: str, location: str) -> str:
    """A path as it is, or a URL if it can be used.

    Raises:
        ConfigurationError: The URL is of no store that is known, names no bucket, or carries a secret.
    """
    if not is_url(location):
        return location
    scheme, authority, rest = split_url(location)
    has_secret = ":" in authority or ("@" in authority and not scheme.startswith("abfs"))
    if has_secret:
        message = (
            "the URL seems to carry a key. A secret does not belong here: write s3://bucket/folder, and set"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment."
        )
        raise ConfigurationError(message, where)
    if scheme not in SCHEMES or not authority:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        message = f"found {location!r}, expected a path, or a URL such as s3://bucket/folder ({known})."
        raise ConfigurationError(message, where)
    return f"{scheme}://{authority}/{rest}".rstrip("/")


def fixed_part(pattern: str) -> str:
    """The folder that a pattern starts with, as far as it has no wildcard.

    >>> fixed_part("s3://bucket/labels/*/part-?.parquet"), fixed_part("s3://bucket/labels")
    ('s3://bucket/labels', 's3://bucket/labels')
    """
    magic = _MAGIC.search(pattern)
    return pattern if magic is None else pattern[: magic.start()].rpartition("/")[0]


def as_regex(pattern: str) -> re.Pattern[str]:
    """What a file pattern matches: `*` and `?` stay within a folder, `**` crosses folders.

    >>> [bool(as_regex("a/**/*.csv").fullmatch(path)) for path in ("a/x.csv", "a/b/c/x.csv", "a/x.parquet")]
    [True, True, False]
    """
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", pattern)
    return re.compile("".join(forms.get(part) or _set_or_text(part) for part in parts), re.DOTALL)


def _set_or_text(part: str) -> str:
    if not (part.startswith("[") and part.endswith("]") and len(part) > len("[]")):
        return re.escape(part)
    inner = part[1:-1].replace("\\", r"\\")
    return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
