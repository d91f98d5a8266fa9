"""The folder of a dictionary for the hub, and what is sent there."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.files import write_json
from cladescope.names import SCORES
from cladescope.operations.publish import CARD, FILES, RECORD, write_folder
from cladescope.seals import seal

PLACE = "trained/dictionaries/cls/L8/topk/w20_k3_s0"
KINDS = {"topk": {"k": 3}, "jumprelu": {"threshold": np.linspace(0, 2, 20, dtype=np.float32)}}


@pytest.fixture
def made(request, tmp_path) -> Path:
    """A dictionary with scores, as a finished study leaves them."""
    draw = np.random.default_rng(1).standard_normal
    matrices = [draw((20, 8)).astype(np.float32) for _ in range(2)]
    vectors = [draw(n).astype(np.float32) for n in (20, 8, 8)]
    dictionary = Dictionary(
        matrices[0], vectors[0], matrices[1], vectors[1], vectors[2], 2.5, **request.param
    )
    folder = tmp_path / "results" / PLACE
    identity = {"variant": "topk", "width": 20, "machine": "CPU of a test"}
    dictionary.save(folder / "sae.safetensors", identity)
    write_json(folder / "quality.json", {"fve": 0.87654, "l0": 3})
    scores = dict.fromkeys(c for score in SCORES.values() for c in score.columns)
    scores |= {"node_recovery": 0.4, "node_recovery_low": 0.31, "node_recovery_high": 0.49}
    scores |= {f"node_recovery_null_permuted{e}": v for e, v in (("", 0.1), ("_low", 0.05))}
    scores |= {"node_recovery_null_permuted_high": 0.15, "node_recovery_null_shuffled": 0.02}
    write_json(folder / "scores.json", {**scores, "n_scored": 17})
    record = {
        "settings": {"backbone": {"model": "vit_planted"}},
        "dictionaries": {PLACE: {"config_sha256": "abc", "git_dirty": False}},
    }
    write_json(folder.parents[4] / RECORD, record)
    for path in (*(folder / name for name in FILES), folder.parents[4] / RECORD):
        seal(path)
    return folder


@pytest.mark.parametrize("made", [KINDS["topk"]], indirect=True)
def test_the_card_has_scores_nulls_and_provenance(made, tmp_path):
    write_folder(made / "sae.safetensors", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES, RECORD, CARD}
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()
    lines = (tmp_path / "out" / CARD).read_text().splitlines()
    assert "# A `topk` dictionary of vit_planted, layer 8, token `cls`" in lines
    assert (
        "| internal nodes recovered (share) (`node_recovery`) | 0.400 (0.310 to 0.490) | "
        "0.100 (0.050 to 0.150) | 0.020 |  |" in lines
    )
    assert "| scored latents (`n_scored`) | 17 |  |  |  |" in lines
    assert "| `fve` | 0.877 |" in lines
    assert "| config_sha256 | `abc` |" in lines
    assert not any("held_out" in line for line in lines), "a score that it does not have"
    assert (
        json.loads("\n".join(lines[lines.index("```json") + 1 : -1]))["machine"] == "CPU of a test"
    )
    import_dictionary(Source("cladescope", tmp_path / "out"), tmp_path / "back.safetensors")
    back, own = (Dictionary.load(path) for path in (tmp_path / "back.safetensors", made / FILES[0]))
    assert np.array_equal(back.encoder, own.encoder)
    write_folder(made, tmp_path / "again")
    assert (tmp_path / "again" / CARD).read_bytes() == (tmp_path / "out" / CARD).read_bytes()


@pytest.mark.parametrize("made", KINDS.values(), ids=KINDS, indirect=True)
def test_the_code_of_the_card_encodes(made, tmp_path, monkeypatch):
    write_folder(made, tmp_path / "out")
    text = (tmp_path / "out" / CARD).read_text()
    monkeypatch.chdir(tmp_path / "out")
    found = {}
    exec(text.partition("```python\n")[2].partition("```")[0], found)
    x = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32) * 4
    dictionary = Dictionary.load(made / "sae.safetensors")
    z = dictionary.encode(dictionary.normalise(x))
    assert (z > 0).any()
    assert found["encode"](x) == pytest.approx(z, abs=1e-5)
    guess = dictionary.decode(z) * dictionary.scale + dictionary.mean
    assert found["decode"](z) == pytest.approx(guess, abs=1e-4)


@pytest.mark.parametrize("made", [{"k": 3, "per_token": True}], indirect=True)
def test_a_rule_is_not_encoded_by_code_that_lacks_it(made, tmp_path):
    write_folder(made, tmp_path / "out")
    text = (tmp_path / "out" / CARD).read_text()
    assert "```python" not in text
    assert "Its format is `cladescope-dictionary-4`" in text


@pytest.mark.parametrize("made", [KINDS["topk"]], indirect=True)
def test_what_is_not_finished_or_not_sealed_is_not_published(made, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="full is not empty; name another folder"):
        write_folder(made, tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "kept"
    write_json(made / "scores.json", {"node_recovery": 0.9})
    with pytest.raises(ValueError, match=r"scores\.json is not what was sealed"):
        write_folder(made, tmp_path / "out")
    (made / "scores.json").unlink()
    (made.parents[4] / RECORD).unlink()
    with pytest.raises(FileNotFoundError, match=r"scores\.json, .*provenance\.json not there"):
        write_folder(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def hub_server():
    """What the hub answers its client that uploads small files, and what it was sent."""
    sent = {}

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/repos/create":
                sent["repository"] = json.loads(body)["name"]
                self.reply({"url": "http://127.0.0.1/owner/name", "id": "owner/name"})
            elif self.path == "/api/validate-yaml":
                sent["card"] = json.loads(body)["content"]
                self.reply({"errors": [], "warnings": []})
            elif self.path == "/api/models/owner/name/preupload/main":
                asked = [file["path"] for file in json.loads(body)["files"]]
                files = [{"path": path, "uploadMode": "regular"} for path in asked]
                self.reply({"files": [{**file, "shouldIgnore": False} for file in files]})
            elif self.path == "/api/models/owner/name/commit/main":
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        value = line["value"]
                        sent[value["path"]] = base64.b64decode(value["content"])
                commit = {"commitUrl": "http://127.0.0.1/owner/name/commit/abc"}
                self.reply({**commit, "commitOid": "abc"})
            else:
                self.send_error(404)

        def do_GET(self):
            self.send_error(404)

        def reply(self, value):
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("made", [KINDS["topk"]], indirect=True)
@pytest.mark.parametrize("asked", [False, True])
def test_it_is_pushed_if_asked(made, tmp_path, hub_server, asked):
    """By the hub's own client, to a server that stands in for the hub."""
    endpoint, sent = hub_server
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_nothing"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "cladescope", "publish", str(made), str(tmp_path / "out")]
    command += ["--push", "owner/name"] if asked else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if not asked:
        assert sent == {}
        return
    assert sent.pop("repository") == "name"
    assert sent.pop("card") == (tmp_path / "out" / CARD).read_text()
    assert sent == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert "uploaded" in done.stdout
