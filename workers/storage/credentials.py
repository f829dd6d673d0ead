"""Refuse URIs that hold credentials."""

import re

from workers.errors import InputError

_PASSWORD = re.compile(r"[^/@]*:.*@", re.DOTALL)
"""Matches user:password@ after the scheme of a URI. A password may contain a slash."""
_OBJECT_STORES = ("s3", "gs", "gcs")
"""Schemes of URIs without a port. In them, a colon before an @ can only belong to a password."""
_SECRET_OPTION = re.compile(
    r"[?&][^=&]*(secret|password|token|access_key|account_key|\bsig\b)[^=&]*=", re.IGNORECASE
)


def refuse_credentials(uri: str) -> None:
    """Raise InputError if a URI holds credentials. The error does not show them.

    A URI is printed, logged and written into run folders, so it must not contain a secret.
    """
    scheme, _, rest = uri.partition("://")
    path, mark, _ = rest.partition("?")
    if _PASSWORD.match(path if scheme in _OBJECT_STORES else path.partition("/")[0]):
        shown = f"{scheme}://***@{path.rpartition('@')[2]}"
    elif _SECRET_OPTION.search(uri):
        shown = f"{scheme}://{path}{mark}***"
    else:
        return
    cure = "leave them out, and put them into the environment of each process"
    if scheme == "s3":
        cure = (
            "leave them out, and put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or into ~/.aws/credentials"
        )
    raise InputError(f"the URI {shown} holds credentials", cure)
