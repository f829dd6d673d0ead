"""Open S3 or a compatible server (MinIO, Ceph) from a URI: s3://bucket/runs?region=..."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pyarrow import fs

_TEXT_OPTIONS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
_FLAG_OPTIONS = ("allow_bucket_creation", "allow_bucket_deletion")
_MAX_ATTEMPTS = 3
"""With three attempts, a server that does not answer costs about 10 seconds; by default, 100."""


def open_s3(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system and the path in it. Credentials come from the environment or ~/.aws.

    Raises ValueError if the URI has an invalid option, OSError if the region of the bucket cannot
    be found out.
    """
    parts = urlsplit(uri)
    options = _options(parts.query)
    if "region" not in options and "endpoint_override" not in options:
        options["region"] = fs.resolve_s3_region(parts.netloc)
    filesystem = fs.S3FileSystem(
        **options,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_MAX_ATTEMPTS),
        # With this, a small file takes one request instead of three, and an interrupt during the
        # first request leaves no empty file.
        allow_delayed_open=True,
    )
    return filesystem, parts.netloc + unquote(parts.path)


def _options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _TEXT_OPTIONS:
            options[name] = value
        elif name in _FLAG_OPTIONS and value in ("true", "false"):
            options[name] = value == "true"
        else:
            raise ValueError(
                f"its option {name}={value} is not valid; valid: {', '.join(_TEXT_OPTIONS)}, "
                f"and true or false for {', '.join(_FLAG_OPTIONS)}"
            )
    return options
