"""What the headers of a dictionary's files tell is what reading all of them tells."""

import os
import subprocess
import sys

import pytest
from benchmarks.formats import BY_FORMULA, KINDS, D, drawn
from safetensors.torch import save_file
from torch import nn, save

from cladescope.dictionaries.exchange import CENTRES, FILES, Source
from cladescope.dictionaries.exchange.header import read_header
from cladescope.dictionaries.exchange.importing import read_dictionary
from cladescope.files import write_json


@pytest.mark.parametrize(
    ("make", "kind"), [(make, kind) for make in BY_FORMULA for kind in KINDS[make]]
)
def test_headers_say_what_the_weights_do(make, kind, tmp_path):
    source = make(kind, tmp_path).source
    dictionary, _ = read_dictionary(source)
    assert read_header(source) == (D, dictionary.per_token)


def test_every_format_has_a_tensor_of_the_width():
    assert CENTRES.keys() == FILES.keys()


@pytest.mark.parametrize("normalisation", ["none", "layer_norm"])
def test_settings_tell_of_one_scale(tmp_path, normalisation):
    save_file({"b_dec": drawn(7)}, tmp_path / "sae_weights.safetensors")
    write_json(tmp_path / "cfg.json", {"normalize_activations": normalisation})
    header = read_header(Source("saelens", tmp_path))
    assert header == (7, normalisation == "layer_norm")


def test_parameters_have_shapes_and_other_objects_are_refused(tmp_path):
    source = Source("overcomplete", tmp_path)
    save({"dictionary.C": nn.Parameter(drawn(3, 5))}, tmp_path / "sae.pt")
    assert read_header(source).dimensions == 5
    save({"dictionary.C": drawn(3, 5)}, tmp_path / "sae.pt", _use_new_zipfile_serialization=False)
    assert read_header(source).dimensions == 5, "as torch saved before its version 1.6"
    save(nn.Linear(2, 3), tmp_path / "sae.pt")
    with pytest.raises(ValueError, match=r"sae\.pt holds something else than tensors by name"):
        read_header(source)


def test_code_in_a_header_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    save({"b_dec": Trap()}, tmp_path / "weights.pt")
    write_json(tmp_path / "config.json", {})
    with pytest.raises(ValueError, match="holds something else than tensors"):
        read_header(Source("prisma", tmp_path))
    assert not (tmp_path / "trapped").exists()


def test_damaged_files_are_named(tmp_path):
    write_json(tmp_path / "cfg.json", {})
    (tmp_path / "sae.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    with pytest.raises(ValueError, match=r"sae\.safetensors cannot be read .* copy it again"):
        read_header(Source("sparsify", tmp_path))
    with pytest.raises(FileNotFoundError, match="has no sae_weights"):
        read_header(Source("saelens", tmp_path))


def test_headers_of_safetensors_take_none_of_the_libraries_of_jobs(tmp_path):
    """Every start of Snakemake reads them."""
    save_file({"b_dec": drawn(7)}, tmp_path / "sae.safetensors")
    write_json(tmp_path / "cfg.json", {})
    program = (
        "import sys; sys.modules |= dict.fromkeys(('numpy', 'torch', 'safetensors'))\n"
        "from pathlib import Path\n"
        "from cladescope.dictionaries.exchange import Source\n"
        "from cladescope.dictionaries.exchange.header import read_header\n"
        f"print(*read_header(Source('sparsify', Path({str(tmp_path)!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "7 False\n", done.stderr
