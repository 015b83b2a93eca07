"""Addresses, and what stores' answers mean."""

from __future__ import annotations

import pytest

from fvcli.errors import UsageError
from fvcli.locations import (
    AddressError,
    Location,
    code_of,
    cut_query,
    is_denied,
    is_final,
    is_remote,
    without_credentials,
)

HEAD = "When reading information for key 'AWS Error ACCESS_DENIED during X operation.jpg' in bucket 'b': "


@pytest.mark.parametrize(
    ("text", "code", "final", "denied"),
    [
        (
            HEAD + "AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response",
            "HTTP_503",
            False,
            False,
        ),
        (HEAD + "AWS Error ACCESS_DENIED during HeadObject operation: No response body.", "ACCESS_DENIED", True, True),
        ("AWS Error SLOW_DOWN during GetObject operation: permission", "SLOW_DOWN", False, False),
        (
            "AWS Error UNKNOWN (HTTP status 400) during GetObject operation: Unable to parse ExceptionName: "
            "ExpiredToken Message: The token has expired",
            "ExpiredToken",
            True,
            True,
        ),
        ("AWS Error UNKNOWN (HTTP status 429) during GetObject operation: x", "HTTP_429", False, False),
        ("AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation: x", "NO_SUCH_BUCKET", True, False),
        ("google::cloud::Status(PERMISSION_DENIED: Permanent error ...)", "PERMISSION_DENIED", True, True),
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted)", "UNAVAILABLE", False, False),
        ("GetProperties failed. Azure Error: [AuthorizationFailure] 403 no", "AuthorizationFailure", True, True),
        ("Azure Error: [ServerBusy] 503 later", "ServerBusy", False, False),
        ("connection reset", "", False, False),
    ],
)
def test_the_code_decides_not_the_words(text: str, code: str, final: bool, denied: bool) -> None:
    error = OSError(text)
    assert (code_of(error), is_final(error), is_denied(error)) == (code, final, denied)


def test_schemes_that_are_not_known_are_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"ftps:// is not .* s3://, gs:// and az://"):
        Location.parse("ftps://host/a.jpg")
    assert is_remote("weird://x")
    assert not is_remote("file:///x")
    assert not is_remote("a:b://c d")


def test_queries_of_web_addresses_belong_to_them() -> None:
    assert cut_query("https://host/a.jpg?region=x") == ("https://host/a.jpg?region=x", "")
    location = Location.parse("https://host/a.jpg?w=1&scheme=x")
    assert location.path == str(location) == "https://host/a.jpg?w=1&scheme=x"


def test_secrets_in_lists_are_blotted_out() -> None:
    assert without_credentials(b"s3://me:pw@b/a@b.jpg") == b"s3://***@b/a@b.jpg"
    assert without_credentials(b"s3://b/a?endpoint_override=me:pw@h&scheme=http") == (
        b"s3://b/a?endpoint_override=***@h&scheme=http"
    )
    assert without_credentials(b"photos/me@home.jpg") == b"photos/me@home.jpg"
    assert without_credentials(b"s3://b/me@home.jpg") == b"s3://b/me@home.jpg"


def test_a_storage_account_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT", raising=False)
    with pytest.raises(UsageError, match="AZURE_STORAGE_ACCOUNT"):
        _ = Location.parse("az://container/a").filesystem
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    assert Location.parse("az://container/a?account=someone").filesystem.type_name == "abfs"


def test_credentials_in_the_environment_s_endpoint_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:the-secret@host:1")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL") as refusal:
        _ = Location.parse("s3://b/x").filesystem
    assert "the-secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    ["s3://key:secret@bucket/folder", "gs://token@bucket/a", "s3://bucket/a?endpoint_override=key:secret@host:9000"],
)
def test_credentials_in_an_address_are_refused(address: str) -> None:
    with pytest.raises(AddressError, match="no credentials belong in a") as refusal:
        Location.parse(address)
    assert "secret" not in str(refusal.value)
