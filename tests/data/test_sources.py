"""Files are found in TINYGEN_DATA, then in the cache, then downloaded; never trusted without their checksum."""

import hashlib
import http.server
import sys
import threading

import pytest

from tinygen.data import sources

CONTENT = b"the published bytes"
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/file.bin"  # the discard port: nothing listens, the connection is refused at once


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.delenv("TINYGEN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "cache" / "tinygen"


def put(folder, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file.bin").write_bytes(content)


@pytest.fixture
def server():
    """A web server on this machine that has the file at /file.bin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}/file.bin"
        httpd.shutdown()
        thread.join()


def test_the_folder_comes_first_and_needs_no_network(monkeypatch, tmp_path):
    put(tmp_path / "data" / "set")
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path / "data"))
    assert sources.find(sources.Source("set/file.bin", MD5, NOWHERE)) == tmp_path / "data" / "set" / "file.bin"


def test_another_file_in_the_folder_is_refused_by_name_and_checksum(monkeypatch, tmp_path):
    put(tmp_path / "data" / "set", b"something else")
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match=rf"file\.bin.*\n?.*{MD5}"):
        sources.find(sources.Source("set/file.bin", MD5, NOWHERE))


def test_a_download_lands_in_the_cache_and_is_not_repeated(cache, server):
    pytest.importorskip("pooch")
    source = sources.Source("set/file.bin", MD5, server)
    assert sources.find(source).read_bytes() == CONTENT
    offline = sources.Source("set/file.bin", MD5, NOWHERE)
    assert sources.find(offline) == cache / "set" / "file.bin"


def test_a_damaged_cache_is_repaired(cache, server):
    pytest.importorskip("pooch")
    put(cache / "set", b"half a fi")
    assert sources.find(sources.Source("set/file.bin", MD5, server)).read_bytes() == CONTENT


def test_a_download_of_other_bytes_is_refused_and_not_kept(cache, server):
    pytest.importorskip("pooch")
    with pytest.raises(FileNotFoundError, match="download failed"):
        sources.find(sources.Source("set/file.bin", "md5:" + "0" * 32, server))
    assert not (cache / "set" / "file.bin").exists()


@pytest.mark.parametrize("damaged", [False, True])
def test_without_a_network_the_error_names_what_was_tried_and_the_fallback(cache, damaged):
    pytest.importorskip("pooch")
    if damaged:
        put(cache / "set", b"half a fi")
    with pytest.raises(FileNotFoundError) as caught:
        sources.find(sources.Source("set/file.bin", MD5, NOWHERE))
    message = str(caught.value)
    for part in ("set/file.bin", "TINYGEN_DATA  is not set", str(cache), NOWHERE, "data.digits()"):
        assert part in message
    assert ("another checksum" in message) == damaged


def test_without_pooch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)  # makes `import pooch` fail
    with pytest.raises(FileNotFoundError, match=r"pip install pooch"):
        sources.find(sources.Source("set/file.bin", MD5, NOWHERE))


def test_everything_is_downloaded_by_https_and_verified():
    """By SHA-256; of USPS nobody publishes one, and its MD5 comes over https."""
    from tinygen.data import images

    found = [*images.MNIST, *images.FASHION_MNIST, *images.BINARIZED_MNIST, images.OLIVETTI_FACES, *images.USPS]
    assert all(source.url.startswith("https://") for source in found)
    assert {source.path for source in found if not source.checksum.startswith("sha256:")} == {
        "usps/usps.bz2",
        "usps/usps.t.bz2",
    }
    named = vars(images).values()
    everything = [s for v in named for s in (v if isinstance(v, list) else [v]) if isinstance(s, sources.Source)]
    assert {*everything} == {*found}, "a new one wants to be here"
