"""Requests to object stores: which are made again when they fail, and what a store's answer means.

pyarrow raises OSError with the answer in its text. The code in it decides, never a word of it: the text also holds
names of buckets and keys.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

ATTEMPTS = 7
_FIRST_PAUSE_SECONDS = 0.1

#: Codes in the texts of S3 (AWS's SDK), Azure's and Google's client libraries, the last one counts.
_CODE = re.compile(
    r"AWS Error (?P<aws>[A-Z_]+)(?: \(HTTP status (?P<status>\d+)\))? during \w+ operation"
    r"(?:: Unable to parse ExceptionName: (?P<name>\w+))?"
    r"|Azure Error: \[(?P<azure>\w+)\]"
    r"|google::cloud::Status\((?P<google>[A-Z_]+)"
)
_DENIED_WORDS = """
    ACCESS_DENIED PERMISSION_DENIED UNAUTHENTICATED INVALID_ACCESS_KEY_ID SIGNATURE_DOES_NOT_MATCH INVALID_SIGNATURE
    REQUEST_TIME_TOO_SKEWED REQUEST_EXPIRED MISSING_AUTHENTICATION_TOKEN INVALID_CLIENT_TOKEN_ID UNRECOGNIZED_CLIENT
    ExpiredToken ExpiredTokenException InvalidToken TokenRefreshRequired AuthenticationFailed AuthorizationFailure
    AuthorizationPermissionMismatch InsufficientAccountPermissions NoAuthenticationInformation
    HTTP_400 HTTP_401 HTTP_403
"""
_MISSING_WORDS = """
    NO_SUCH_BUCKET NO_SUCH_KEY RESOURCE_NOT_FOUND NOT_FOUND BlobNotFound ContainerNotFound HTTP_404 HTTP_410
"""
#: The user may not, or not any more.
_DENIED = frozenset(_DENIED_WORDS.split())
#: There is no such thing.
_MISSING = frozenset(_MISSING_WORDS.split())
#: Statuses of the 400s that mean "later".
_LATER = frozenset(["HTTP_408", "HTTP_425", "HTTP_429"])

T = TypeVar("T")


def retried(action: Callable[[], T]) -> T:
    """Returns the result of ``action``, after up to ATTEMPTS tries with growing pauses. Raises the last OSError.

    What is not there, or not allowed, is not tried again.
    """
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(ATTEMPTS - 1):
        try:
            return action()
        except OSError as error:
            if is_final(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause *= 2
    return action()


def is_final(error: OSError) -> bool:
    """Whether asking again cannot help."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return True
    code = code_of(error)
    return is_denied(error) or code in _MISSING or (code.startswith("HTTP_4") and code not in _LATER)


def is_denied(error: OSError) -> bool:
    """Whether a store refuses because of who asks."""
    return isinstance(error, PermissionError) or code_of(error) in _DENIED


def code_of(error: BaseException) -> str:
    """The code of a store's answer, such as ``ACCESS_DENIED`` or ``HTTP_503``; empty where the text has none."""
    code = ""
    for found in _CODE.finditer(str(error)):
        code = found["name"] or found["azure"] or found["google"] or ""
        if not code:
            unknown = found["aws"] == "UNKNOWN" and found["status"]
            code = f"HTTP_{found['status']}" if unknown else found["aws"]
    return code


def reason(error: BaseException) -> str:
    """One line of what a store's library said; it names buckets, keys and hosts, never credentials."""
    line = str(error).strip().split("\n", 1)[0]
    return line if len(line) <= 300 else line[:297] + "..."
