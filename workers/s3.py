"""S3 and what speaks like it (MinIO, Ceph), opened from a URI: s3://bucket/runs?region=..."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pyarrow import fs

_TEXTS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
_FLAGS = ("allow_bucket_creation", "allow_bucket_deletion")
_ATTEMPTS = 3
"""A server that does not answer is given up after about ten seconds; by default it takes 100."""


def open_s3(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path in it. Credentials come from the environment or ~/.aws.

    Raises ValueError where an option of the URI is unknown, OSError where the bucket's region
    cannot be asked for.
    """
    parts = urlsplit(uri)
    options = _options(parts.query)
    if "region" not in options and "endpoint_override" not in options:
        options["region"] = fs.resolve_s3_region(parts.netloc)
    filesystem = fs.S3FileSystem(
        **options,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        # A small file is one request instead of three, and an interrupt while the first of them
        # is under way leaves no empty file.
        allow_delayed_open=True,
    )
    return filesystem, parts.netloc + unquote(parts.path)


def _options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _TEXTS:
            options[name] = value
        elif name in _FLAGS and value in ("true", "false"):
            options[name] = value == "true"
        else:
            raise ValueError(
                f"its option {name}={value} is none of {', '.join(_TEXTS)}, "
                f"nor true or false for {', '.join(_FLAGS)}"
            )
    return options
