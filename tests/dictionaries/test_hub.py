"""Dictionaries of the hub: in a cache made by hand, and in one that the hub's own client fills."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from benchmarks.formats import openai, saev

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.hub import fetch, located, place_of
from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.files import read_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The layout of huggingface_hub's cache: refs, blobs, snapshots that link to them."""
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    repository = hub / "models--owner--saes"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs").mkdir()
    (tmp_path / "made").mkdir()
    openai("ReLU", tmp_path / "made")
    (tmp_path / "made" / "6.pt").rename(repository / "blobs" / "abc")
    for folder in ("", "layer_6/run"):
        here = repository / "snapshots" / COMMIT / folder
        here.mkdir(parents=True)
        (here / "sae.pt").symlink_to(repository / "blobs" / "abc")
    return repository


@pytest.mark.parametrize("folder", ["", "/layer_6/run", f"@{COMMIT}", f"@{COMMIT}/layer_6/run"])
def test_a_place_is_read_from_the_cache(cache, tmp_path, folder):
    source = located(Source("openai", Path(f"hub:owner/saes{folder}")))
    inside = folder.partition("/")[2]
    assert source.folder == cache / "snapshots" / COMMIT / inside
    import_dictionary(source, tmp_path / "out" / "sae.safetensors")
    assert Dictionary.load(tmp_path / "out" / "sae.safetensors").width == 256
    made_from = read_json(tmp_path / "out" / "sae.json")["identity"]["made_from"]
    assert made_from["hub"] == f"owner/saes@{COMMIT}"


@pytest.mark.parametrize(
    ("folder", "form", "missing"),
    [
        ("hub:owner/others", "openai", "sae.pt"),
        ("hub:owner/saes@v2", "openai", "sae.pt"),
        ("hub:owner/saes/layer_7", "openai", "sae.pt"),
        ("hub:owner/saes", "sparsify", "cfg.json and sae.safetensors"),
    ],
)
def test_what_the_cache_lacks_is_not_downloaded(cache, monkeypatch, folder, form, missing):
    def reach(*_, **__):
        raise AssertionError("a job reached for the network")

    monkeypatch.setattr("socket.socket.connect", reach)
    with pytest.raises(FileNotFoundError, match=f"{folder}: {missing} not in .*cladescope fetch"):
        located(Source(form, Path(folder)))


@pytest.mark.parametrize("folder", ["hub:saes", "hub:", "hub:owner/saes@", "hub:owner/s es"])
def test_what_is_no_place_is_said(folder):
    with pytest.raises(ValueError, match="write hub:owner/name, or hub:owner/name@revision/folder"):
        place_of(Path(folder))


def test_other_folders_stay_what_they_are():
    source = Source("openai", Path("data/hub"))
    assert located(source) is source
    assert fetch(source) is source


@pytest.fixture
def hub_server(tmp_path):
    """What the hub answers its client for files of one repository."""
    (tmp_path / "served").mkdir()
    saev("before schemas", tmp_path / "served")
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            place, _, name = self.path.rpartition("/")
            if place != "/owner/saes/resolve/main/layer_6":
                # The client asks its server for more than files.
                self.send_error(404)
                return b""
            asked.append(name)
            content = (tmp_path / "served" / name).read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{name}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_fetch_fills_the_cache_that_is_read(tmp_path, hub_server, root, monkeypatch):
    """By the hub's own client; all files that the configuration names, and nothing else."""
    endpoint, asked = hub_server
    config = yaml.safe_load((root / "config" / "config.yaml").read_text())
    (experiment, *_) = config["experiments"].values()
    settings = {"scale_mean": "mean.pt", "scale_norm": 3.25}
    entry = {"format": "saev", "folder": "hub:owner/saes/layer_6", "settings": settings}
    experiment["sweep"]["imported"] = {"theirs": {**entry, "layer": 8, "token": "cls"}}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "cladescope", "fetch", str(tmp_path / "my.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    said = f"hub:owner/saes/layer_6: owner/saes@{COMMIT}, "
    assert re.fullmatch(re.escape(said) + r"\d+ latents of \d+ dimensions\n", done.stdout)
    assert {*asked} == {"sae.pt", "mean.pt"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    source = located(Source.from_config(experiment["sweep"]["imported"]["theirs"]))
    import_dictionary(source, tmp_path / "out" / "sae.safetensors")
    assert json.loads((tmp_path / "out" / "sae.json").read_text())["scale"] == 3.25
