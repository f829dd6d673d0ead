"""Create an object on S3 only if there is none of its name yet, in one request.

pyarrow has no such request. botocore has, and finds the same credentials as pyarrow does, which
obstore and a request signed by hand do not: profiles, roles of machines and of service accounts.
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

_TIMEOUT_S, _MAX_ATTEMPTS = 10, 3
_EXISTS = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_UNKNOWN = ("NotImplemented", "501", "InvalidRequest")
"""What a server says that has no conditional writes."""


def put_new(uri: str, path: str, data: bytes) -> bool | None:
    """Return whether the object was created: False if one of that name exists.

    None, and nothing is written, if botocore is not installed or the server has no such request.

    Args:
        uri: any URI of the bucket, for its options.
        path: bucket/key.

    Raises OSError.
    """
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return None
    bucket, _, key = path.partition("/")
    try:
        _client(uri).put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in _EXISTS:
            return False
        if code in _UNKNOWN:
            return None
        raise OSError(str(error)) from error
    except BotoCoreError as error:
        raise OSError(str(error)) from error
    return True


def _client(uri: str) -> Any:
    from botocore.config import Config
    from botocore.session import get_session

    options = dict(parse_qsl(urlsplit(uri).query))
    endpoint = options.get("endpoint_override")
    url = f"{options.get('scheme', 'https')}://{endpoint}" if endpoint else None
    return get_session().create_client(
        "s3",
        region_name=options.get("region") or ("us-east-1" if endpoint else None),
        endpoint_url=url,
        verify=options.get("tls_ca_file_path"),
        config=Config(
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
            retries={"total_max_attempts": _MAX_ATTEMPTS, "mode": "standard"},
            s3={"addressing_style": "path"} if endpoint else {},
        ),
    )
