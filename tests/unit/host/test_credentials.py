"""Which login goes to which host, and that none is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.environment.credentials import (
    UNREADABLE,
    Login,
    configured,
    from_uv,
    login_for,
    origin_of,
    strip,
    strip_in_text,
    without_login,
)

HOST = "https://example.invalid"
FILE = f"{HOST}/files/six-1.0.whl"


def found(
    environment: dict[str, str] | None = None, *addresses: str, url: str = FILE
) -> tuple[str, str] | None:
    login = login_for(url, configured(addresses, environment or {}))
    return None if login is None else (login.user, login.password)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("UV_DEFAULT_INDEX", "https://ann:pw@example.invalid/simple"),
        ("UV_DEFAULT_INDEX", "own=https://ann:pw@example.invalid/simple"),
        ("UV_INDEX_URL", "https://ann:pw@example.invalid/simple"),
        ("UV_INDEX", "https://a:b@other.invalid/ own=https://ann:pw@example.invalid/simple"),
        ("UV_EXTRA_INDEX_URL", "https://a:b@other.invalid/\nhttps://ann:pw@EXAMPLE.invalid/simple"),
        ("UV_INDEX", "https://ann:pw@example.invalid:443/simple?a=b"),
    ],
)
def test_addresses_in_uvs_variables(variable: str, value: str) -> None:
    assert found({variable: value}) == ("ann", "pw")


def test_addresses_that_the_caller_has() -> None:
    assert found({}, "https://ann:pw@example.invalid/simple") == ("ann", "pw")
    assert found({}, "own=https://ann:pw@example.invalid/simple") == ("ann", "pw")
    assert found({}) is None


@pytest.mark.parametrize("address", ["my-own.index={}", "MY_OWN-INDEX={}"])
def test_variables_of_a_named_index(address: str) -> None:
    variables = {"UV_INDEX_MY_OWN_INDEX_USERNAME": "ann", "UV_INDEX_MY_OWN_INDEX_PASSWORD": "pw"}
    plain = address.format(f"{HOST}/simple")
    assert found(variables, plain) == ("ann", "pw")
    assert found({**variables, "UV_INDEX": plain}) == ("ann", "pw")
    with_login = address.format("https://bob:other@example.invalid/simple")
    assert found(variables, with_login) == ("ann", "pw"), "uv, too, prefers its variables"
    assert found(variables, f"{HOST}/simple") is None


@pytest.mark.parametrize(
    "index",
    [
        "https://ann:pw@example.invalid:8443/simple",
        "http://ann:pw@example.invalid/simple",
        "https://ann:pw@sub.example.invalid/simple",
        "https://ann:pw@invalid/simple",
        "https://ann:pw@example.invalid.evil.invalid/simple",
    ],
)
def test_no_login_for_another_origin(index: str) -> None:
    assert found({"UV_DEFAULT_INDEX": index}) is None


def test_the_files_own_login_comes_first() -> None:
    url = FILE.replace("://", "://me:mine@")
    index = "https://ann:pw@example.invalid/simple"
    assert found({"UV_DEFAULT_INDEX": index}, url=url) == ("me", "mine")
    assert found({}, url=url) == ("me", "mine")


def test_of_two_indexes_on_a_host_the_likelier_one() -> None:
    two = ["https://a:1@example.invalid/team-a/simple", "https://b:2@example.invalid/team-b/simple"]
    for name, login in (("team-a", ("a", "1")), ("team-b", ("b", "2")), ("files", ("a", "1"))):
        assert found({}, *two, url=f"{HOST}/{name}/files/six-1.0.whl") == login


def test_quoted_and_partial_logins() -> None:
    assert found({}, "https://ann%40home:p%2Fw%3A@example.invalid/") == ("ann@home", "p/w:")
    assert found({}, "https://token@example.invalid/") == ("token", "")
    assert found({}, "https://:pw@example.invalid/") == ("", "pw")


def test_junk_is_passed_over() -> None:
    junk = {
        "UV_INDEX": "= a= =b http://[x /local/path file:///x name=/y",
        "UV_INDEX__PASSWORD": "z",
    }
    assert configured(["", "\0", "https://u:p@", "https://u:p/w@h"], junk) == ()


def test_a_login_is_not_printed() -> None:
    known = configured(["https://ann:hush@example.invalid/"], {})
    for text in (repr(known), str(known), f"{known[0].login}", repr(Login("ann", "hush"))):
        assert "hush" not in text
        assert "ann" not in text


# ---------------------------------------------------------------- addresses to show and to record


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (FILE, FILE),
        ("https://u:p@example.invalid/x", f"{HOST}/x"),
        ("https://token@example.invalid:8443/x#sha256=1", f"{HOST}:8443/x#sha256=1"),
        ("https://u:p@p@example.invalid/x", f"{HOST}/x"),
        (f"{FILE}?X-Amz-Signature=abc&X-Amz-Date=1#egg=six", f"{FILE}#egg=six"),
        ("git+https://u:p@example.invalid/x.git@v1", f"git+{HOST}/x.git@v1"),
        ("git+ssh://git:pw@example.invalid/x.git", "git+ssh://git@example.invalid/x.git"),
        ("https://[::1]:80/x", "https://[::1]:80/x"),
        ("file:///a/b%20c.whl", "file:///a/b%20c.whl"),
        ("/a/b.whl", "/a/b.whl"),
        ("https://user:pa/ss@example.invalid/x", UNREADABLE),
        ("https://[u:p@example.invalid/x", UNREADABLE),
        (f"{HOST}/\x1b[31mred", f"{HOST}/%1B[31mred"),
    ],
)
def test_strip(url: str, shown: str) -> None:
    assert strip(url) == shown


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=3).filter(
    lambda text: not set(text) & set("/?#[]@") and "hush" not in text
)


@given(TEXT, TEXT)
def test_strip_never_raises_and_leaves_no_password(user: str, path: str) -> None:
    url = f"https://{user}:hush-hush@example.invalid/{path}?token=hush-hush"
    assert "hush" not in strip(url)
    assert "hush" not in strip_in_text(f"error: {url} failed")


@given(st.text())
def test_any_text_is_an_address_to_somebody(text: str) -> None:
    for each in (text, f"https://{text}", f"{text}://x"):
        assert strip(each).isprintable()
        strip_in_text(each)
        login_for(each, configured([each], {}))
        if origin_of(each):
            without_login(each)


def test_strip_in_text() -> None:
    said = (
        "Failed to fetch: `https://u:p@example.invalid/x?sig=1`\n  and "
        "(git+https://token@example.invalid/y.git). user@example.invalid stays, so does a://."
    )
    assert strip_in_text(said) == (
        f"Failed to fetch: `{HOST}/x`\n  and "
        f"(git+{HOST}/y.git). user@example.invalid stays, so does a://."
    )


def test_origin() -> None:
    assert origin_of("HTTPS://Example.invalid/x") == "https://example.invalid:443"
    assert origin_of("http://u:p@[::1]/x") == "http://[::1]:80"
    for none in ("/a", "file:///a", "ssh://host/x", "https://h:x/", "https://", "http://[a"):
        assert origin_of(none) is None


def test_without_login_keeps_the_rest() -> None:
    url = "https://u:p@example.invalid:1/x%20y?sig=1"
    assert without_login(url) == f"{HOST}:1/x%20y?sig=1"


# ---------------------------------------------------------------- uv's own store


def test_uvs_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CREDENTIALS_DIR", str(tmp_path))
    uv = os.path.join(os.path.dirname(sys.executable), "uv")
    for login in (["--username", "ann", "--password", "pw"], ["--token", "t0k3n"]):
        subprocess.run([uv, "auth", "login", HOST, *login], check=True, capture_output=True)
    assert from_uv(FILE, "ann") == Login("ann", "pw")
    assert from_uv(FILE) == Login("__token__", "t0k3n")
    assert from_uv(FILE, "bob") is None
    assert from_uv("https://other.invalid/x", "ann") is None
    assert from_uv("/a/path") is None


def test_without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uv.find_uv_bin", lambda: "/not/there")
    assert from_uv(FILE, "ann") is None
