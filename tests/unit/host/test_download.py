"""Downloading against an index on this machine, and what can go wrong there."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reprorun.environment import answers, download
from reprorun.environment import fetch as module
from reprorun.environment.fetch import cached, fetch
from reprorun.errors import LockFailed
from reprorun.model import RemoteFile
from tests.index import Index, Served, make_wheel

from .fetching import (
    MEGABYTE,
    big,
    changed,
    got,
    leftovers,
    place,
    process,
    refusal,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("no_waiting")


# ---------------------------------------------------------------- wrong content


def test_wrong_bytes_are_fetched_once_more(six: Served) -> None:
    six.faults.wrong = 1
    (path,) = got(six.remote)
    assert Path(path).read_bytes() == six.data
    assert [each.range for each in six.requests] == [None, None]


def test_wrong_bytes_again_are_an_error(six: Served) -> None:
    six.faults.wrong = 9
    text = refusal(six.remote)
    assert six.filename in text
    assert six.sha256 in text
    assert hashlib.sha256(bytes(len(six.data))).hexdigest() in text
    assert len(six.requests) == 2
    assert cached(six.remote) is None
    assert leftovers(six.remote) == []


@pytest.mark.parametrize("size", [None, 0])
def test_a_body_that_is_complete_but_short(six: Served, size: int | None) -> None:
    wanted = changed(six.remote, size=None) if size is None else six.remote
    six.faults.short = 1
    assert Path(got(wanted)[0]).read_bytes() == six.data
    shutil.rmtree(place(wanted))
    six.faults.short = 9
    text = refusal(wanted)
    assert six.filename in text
    assert f"{len(six.data) // 2} bytes where {len(six.data)}" in text or six.sha256 in text
    assert leftovers(wanted) == []


def test_never_more_than_announced(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", bytes(4 * MEGABYTE))
    for length in (True, False):
        served.faults.length = length
        text = refusal(changed(served.remote, size=1000))
        assert "1000" in text
        assert leftovers(served.remote) == []


def test_absurd_sizes_are_refused(six: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST", 100)
    assert "more than any package" in refusal(six.remote)
    six.faults.length = False
    assert "more than the 100 bytes" in refusal(changed(six.remote, size=None))


# ---------------------------------------------------------------- resuming


def test_a_cut_body_goes_on_where_it_ended(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    served.faults.cut = 2
    (path,) = got(served.remote)
    assert Path(path).read_bytes() == served.data
    size, etag = len(served.data), f'"{served.sha256[:16]}"'
    asked = [(each.range, each.if_range) for each in served.requests]
    assert asked == [
        (None, None),
        (f"bytes={size // 2}-", etag),
        (f"bytes={size * 3 // 4}-", etag),
    ]


def test_a_cut_body_whose_length_nobody_said(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    served.faults.cut, served.faults.length = 1, False
    assert Path(got(served.remote)[0]).read_bytes() == served.data
    assert served.requests[1].range == f"bytes={len(served.data) // 2}-"


def test_always_cut_is_an_error_that_keeps_what_came(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    served.faults.cut = 99
    text = refusal(served.remote)
    assert served.filename in text
    assert "broke" in text or "ended" in text
    assert len(served.requests) == 4
    served.faults.cut = 0
    got(served.remote)
    assert served.requests[-1].range is not None


def test_a_server_that_knows_no_ranges_sends_the_whole(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    served.faults.cut = 1
    served.faults.ranges = False
    assert Path(got(served.remote)[0]).read_bytes() == served.data
    assert served.requests[1].range is not None


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_etag_the_digest_decides(index: Index, etag: str) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(MEGABYTE))
    served.faults.cut, served.faults.etag = 1, etag
    assert Path(got(served.remote)[0]).read_bytes() == served.data
    assert served.requests[1].range
    assert served.requests[1].if_range is None


def left_behind(file: RemoteFile, content: bytes, etag: str = "") -> None:
    """As a killed process leaves it."""
    place(file).mkdir(parents=True)
    (place(file) / ".partial").write_bytes(content)
    (place(file) / ".etag").write_text(etag)


def test_a_partial_file_of_another_version(six: Served) -> None:
    left_behind(six.remote, b"something else", '"of another version"')
    assert Path(got(six.remote)[0]).read_bytes() == six.data
    assert [each.if_range for each in six.requests] == ['"of another version"']


def test_a_wrong_partial_file_is_fetched_anew(six: Served) -> None:
    left_behind(six.remote, b"something else")
    assert Path(got(six.remote)[0]).read_bytes() == six.data
    assert [each.range for each in six.requests] == ["bytes=14-", None]


def test_a_whole_partial_file_needs_no_server(index: Index, six: Served) -> None:
    left_behind(six.remote, six.data)
    index.stop()
    assert Path(got(six.remote)[0]).read_bytes() == six.data
    assert leftovers(six.remote) == []


@pytest.mark.parametrize("size", [None, 0])
def test_a_partial_file_that_is_too_long(six: Served, size: int | None) -> None:
    left_behind(six.remote, six.data + b"more")
    wanted = changed(six.remote, size=None) if size is None else six.remote
    assert Path(got(wanted)[0]).read_bytes() == six.data
    longer = f"bytes={len(six.data) + 4}-"
    assert [each.range for each in six.requests] == ([longer, None] if size is None else [None])


def test_a_killed_run_is_continued(index: Index) -> None:
    served = index.add("big-1.0-py3-none-any.whl", big(4 * MEGABYTE))
    served.faults.pause = 0.05
    partial = place(served.remote) / ".partial"
    killed = process(served.remote)
    wait_until(lambda: partial.exists() and partial.stat().st_size > MEGABYTE // 2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    had = partial.stat().st_size
    assert had < len(served.data)
    served.faults.pause = 0
    assert Path(got(served.remote)[0]).read_bytes() == served.data
    assert [each.range for each in served.requests] == [None, f"bytes={had}-"]
    assert leftovers(served.remote) == []


# ---------------------------------------------------------------- servers that fail


@pytest.mark.parametrize("status", [500, 503, 429])
def test_passing_trouble_is_waited_for(six: Served, status: int) -> None:
    six.faults.statuses = [status] * 3
    assert got(six.remote)
    assert len(six.requests) == 4


def test_lasting_trouble_is_an_error(six: Served) -> None:
    six.faults.status = 503
    text = refusal(six.remote)
    assert six.filename in text
    assert "503" in text
    assert len(six.requests) == 4
    assert leftovers(six.remote) == []


def test_the_server_says_how_long_to_wait(six: Served) -> None:
    six.faults.statuses, six.faults.retry_after = [429], "1"
    began = time.monotonic()
    got(six.remote)
    assert time.monotonic() - began >= 1


def test_no_waiting_for_hours(six: Served) -> None:
    six.faults.status, six.faults.retry_after = 429, "7200"
    assert "7200 s" in refusal(six.remote)
    assert len(six.requests) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("", None), ("soon", None), ("Thu, 01 Jan 2015 00:00:00 GMT", 0.0)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert answers.retry_after(value) == seconds


@pytest.mark.parametrize("status", [404, 410, 418])
def test_no_second_try_where_it_is_useless(six: Served, status: int) -> None:
    six.faults.status = status
    text = refusal(six.remote)
    assert six.filename in text
    assert str(status) in text
    assert len(six.requests) == 1


def test_all_that_fails_is_named_and_the_rest_is_kept(index: Index) -> None:
    good, gone, sick = (index.add(*make_wheel(name, "1.0")) for name in ("good", "gone", "sick"))
    gone.faults.status = 404
    sick.faults.status = 500
    text = refusal(good.remote, gone.remote, sick.remote)
    assert gone.filename in text
    assert "404" in text
    assert sick.filename in text
    assert "500" in text
    assert good.filename not in text
    assert cached(good.remote)


def test_no_index_answers(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACK_OFF", (0.2, 0.2, 0.2))
    many = [index.add(*make_wheel(f"package-{n}", "1.0")) for n in range(30)]
    got(many[0].remote)
    index.stop()
    began = time.monotonic()
    text = refusal(*(each.remote for each in many))
    assert all(each.filename in text for each in many[1:])
    assert many[0].filename not in text
    assert text.count("\n") == 0
    assert "Connection refused" in text
    assert time.monotonic() - began < 3, "the second and later ones are not tried for long"


def test_a_host_that_does_not_exist(six: Served) -> None:
    text = refusal(changed(six.remote, url="http://index.invalid/six-1.0-py3-none-any.whl"))
    assert "http://index.invalid:80 can't be reached" in text


def test_an_index_that_says_nothing(six: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "0.2")
    monkeypatch.setattr(download, "BACK_OFF", ())
    six.data += bytes(MEGABYTE)
    six.faults.pause = 2
    text = refusal(changed(six.remote, size=None))
    assert "timed out" in text


def test_offline_names_all_that_is_missing(index: Index) -> None:
    one, two, three = (index.add(*make_wheel(name, "1.0")) for name in ("one", "two", "three"))
    got(one.remote)
    before = len(index.requests)
    text = refusal(one.remote, two.remote, changed(three.remote, url=None), offline=True)
    assert one.filename not in text
    assert two.filename in text
    assert three.filename in text
    assert "--offline" in text
    assert len(index.requests) == before


def test_no_address_is_known(index: Index, six: Served) -> None:
    other = index.add(*make_wheel("other", "1.0"))
    text = refusal(changed(six.remote, url=None), other.remote)
    assert six.filename in text
    assert other.filename not in text


@pytest.mark.parametrize(
    "url",
    ["ftp://host/six.whl", "http://[oops/six.whl", "git+https://h/x", "http:///x", "file://h/x"],
)
def test_addresses_that_are_none(six: Served, url: str) -> None:
    assert six.filename in refusal(changed(six.remote, url=url))


# ---------------------------------------------------------------- redirects, proxies, certificates


def test_redirects_are_followed(index: Index, six: Served) -> None:
    moved = index.add("moved-1.0-py3-none-any.whl", six.data)
    moved.faults.redirect = f"{index.other_origin}{six.path}?X-Amz-Signature=abc"
    assert Path(got(moved.remote)[0]).read_bytes() == six.data
    assert six.requests[0].host == f"localhost:{index.port}"


def test_a_circle_of_redirects(six: Served) -> None:
    six.faults.redirect = six.path
    assert "without end" in refusal(six.remote)


def test_a_redirect_does_not_reach_into_this_machine(six: Served, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(six.data)
    six.faults.redirect = f"file://{tmp_path}/secret"
    assert six.filename in refusal(six.remote)


def test_a_proxy_is_used(index: Index, six: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", index.origin)
    got(changed(six.remote, url=f"http://index.invalid{six.path}"))
    assert six.requests[0].host == "index.invalid"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = str(directory / "cert.pem"), str(directory / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_users_certificates(
    certificate: tuple[str, str], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index(tls=certificate) as index:
        six = index.add(*make_wheel("six", "1.0"))
        text = refusal(six.remote)
        assert f"{index.origin} is not trusted" in text
        assert "self-signed" in text or "self signed" in text
        monkeypatch.setenv(variable, certificate[0])
        assert got(six.remote)


def test_which_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    monkeypatch.setattr(download, "_SYSTEM_BUNDLES", (str(bundle),))
    monkeypatch.setattr(download.ssl, "get_default_verify_paths", NoPaths)
    assert download.certificates() == str(bundle)
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}/not-there:{tmp_path}")
    assert download.certificates() == str(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert download.certificates() == str(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    assert download.certificates() == str(tmp_path)
    monkeypatch.delenv("SSL_CERT_DIR")
    bundle.unlink()
    assert download.certificates() is True


class NoPaths:
    cafile = None


# ---------------------------------------------------------------- logins


@pytest.fixture
def guarded() -> Iterator[Index]:
    with Index(user="ann", password="hush-hush") as made:
        yield made


def test_a_login_in_the_address(guarded: Index) -> None:
    six = guarded.add(*make_wheel("six", "1.0"))
    assert got(changed(six.remote, url=guarded.url_with_login.replace("/simple/", six.path)))


@pytest.mark.parametrize("how", ["variable", "named", "indexes", "netrc"])
def test_a_login_that_the_user_has_set_up(
    guarded: Index, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    six = guarded.add(*make_wheel("six", "1.0"))
    indexes = []
    if how == "variable":
        monkeypatch.setenv("UV_DEFAULT_INDEX", guarded.url_with_login)
    elif how == "named":
        monkeypatch.setenv("UV_INDEX", f"https://example.invalid/simple my-own={guarded.url}")
        monkeypatch.setenv("UV_INDEX_MY_OWN_USERNAME", "ann")
        monkeypatch.setenv("UV_INDEX_MY_OWN_PASSWORD", "hush-hush")
    elif how == "indexes":
        indexes = [guarded.url_with_login]
    else:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password hush-hush\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert got(six.remote, indexes=indexes)
    assert six.requests[0].login == "ann:hush-hush"


def test_a_login_in_uvs_store(
    guarded: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_CREDENTIALS_DIR", str(tmp_path))
    uv = os.path.join(os.path.dirname(sys.executable), "uv")
    login = ["--username", "ann", "--password", "hush-hush"]
    subprocess.run([uv, "auth", "login", guarded.url, *login], check=True, capture_output=True)
    one, two = (guarded.add(*make_wheel(name, "1.0")) for name in ("one", "two"))
    with_user = [guarded.url.replace("://", "://ann@")]
    assert got(one.remote, two.remote, indexes=with_user)


def test_no_login(guarded: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UV_CREDENTIALS_DIR", str(tmp_path))
    six = guarded.add(*make_wheel("six", "1.0"))
    text = refusal(six.remote)
    assert "401" in text
    assert guarded.origin in text
    assert "uv auth login" in text


def test_a_login_stays_with_its_host(index: Index, six: Served) -> None:
    moved = index.add("moved-1.0-py3-none-any.whl", six.data)
    moved.faults.redirect = f"{index.other_origin}{six.path}"
    with_login = moved.url.replace("://", "://ann:hush-hush@")
    got(changed(moved.remote, url=with_login), indexes=[f"{index.origin.replace('//', '//a:b@')}/"])
    assert moved.requests[0].login == "ann:hush-hush"
    assert six.requests[0].host.startswith("localhost")
    assert six.requests[0].login is None


def test_a_login_goes_along_on_its_host(index: Index, six: Served) -> None:
    moved = index.add("moved-1.0-py3-none-any.whl", six.data)
    for target in (six.path, six.url):
        moved.faults.redirect = target
        got(changed(moved.remote, url=moved.url.replace("://", "://ann:hush-hush@")))
        assert six.requests[-1].login == "ann:hush-hush"
        shutil.rmtree(place(moved.remote))


@pytest.mark.parametrize("trouble", ["wrong", "cut", "status", "missing", "stopped", "refused"])
def test_no_error_and_no_progress_shows_a_login(
    index: Index, six: Served, trouble: str, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    six.faults.wrong = 9 if trouble == "wrong" else 0
    six.faults.cut = 9 if trouble == "cut" else 0
    six.faults.status = {"status": 503, "missing": 404, "refused": 401}.get(trouble, 0)
    if trouble == "stopped":
        index.stop()
    url = six.url.replace("://", "://ann:hush-hush@") + "?X-Amz-Signature=sesame"
    told: list[str] = []
    with pytest.raises(LockFailed) as caught:
        fetch([changed(six.remote, url=url)], offline=False, progress=told.append)
    shown = [str(caught.value), *told, *capfd.readouterr(), *os.listdir(place(six.remote))]
    assert "hush-hush" not in "".join(shown)
    assert "sesame" not in "".join(shown)
    assert caught.value.__cause__ is None
