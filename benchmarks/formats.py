"""Dictionaries of other libraries: how far the codes that are read here are from their own.

Every kind is drawn at random and saved as its library saves it; then the same activations go
through it and through the dictionary that is imported. Libraries on PyPI do so themselves, in an
environment of their own; those that are not there stand here as their formulas, after the files
that `dictionaries/exchange` names.

    .venv-peers/bin/python benchmarks/formats.py docs/elsewhere.md

measures all (`make formats`) and puts the table into the page.
"""

import importlib.util
import json
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import FILES, Source
from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.operations.pages import fill_in

TOKENS, D, WIDTH, K = 2000, 64, 256, 8
SAID: dict[str, tuple[str, str, str]] = {
    "saelens": ("SAELens", "sae-lens", "other architectures (`temporal`, `abstopk`, transcoders), "
        "`expected_average_only_in`, `constant_norm_rescale`, whitening, `hook_z`; matching "
        "pursuit that stops by itself"),
    "sparsify": ("sparsify", "eai-sparsify", "`groupmax`, transcoders, skip connections"),
    "dictionary_learning": ("dictionary_learning", "dictionary-learning", "other classes"),
    "overcomplete": ("overcomplete", "overcomplete", "whole objects, states from amid training; "
        "`QSAE`, `OMPSAE`; MLP, attention and ResNet encoders, layer normalisation; `max_l2`, "
        "`l1`, `max_l1`"),
    "saev": ("saev", "commit 3d73f1f", "schemas above 5"),
    "prisma": ("Prisma", "commit aa5ff6a", "weights saved with the configuration as an object, "
        "transcoders, `tanh-relu`, `constant_norm_rescale`, gates before `topk`; sites other than "
        "`hook_resid_post`, another layer or token than the sweep's"),
    "openai": ("openai/sparse_autoencoder", "commit 4965b94", "`Identity`, tied weights"),
}  # fmt: skip
"""By format: the library, its package or commit, and what is refused."""


class Made(NamedTuple):
    """A dictionary of a library, in its files."""

    source: Source
    encode: Callable[[Tensor], Tensor]
    """Its own codes (tokens, width) of activations (tokens, d)."""


def activations() -> Tensor:
    """Return tokens about a mean that is not 0, float32 (tokens, d)."""
    return 2 * torch.randn(TOKENS, D, generator=torch.Generator().manual_seed(0)) + 1


def drawn(*shape: int, seed: int = 1) -> Tensor:
    """Return numbers as a trained weight might have them."""
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def redraw(module: nn.Module) -> None:
    """Draw all parameters of a library's object anew, as many of them start at 0."""
    with torch.no_grad():
        for n, parameter in enumerate(module.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=n))


def top(pre: Tensor, k: int) -> Tensor:
    """Keep the k largest of each row, and of them what is above 0."""
    kept = torch.topk(pre, k, dim=-1)
    return torch.zeros_like(pre).scatter(-1, kept.indices, kept.values.relu())


def at_one_scale(x: Tensor) -> Tensor:
    """Bring each token to mean 0 and standard deviation 1, as openai and Prisma do."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.std(-1, keepdim=True) + 1e-5)


def openai(kind: str, folder: Path) -> Made:
    """Return what `Autoencoder.state_dict` holds, and `Autoencoder.encode`."""
    state: dict[str, Any] = {"pre_bias": drawn(D), "encoder.weight": drawn(WIDTH, D)}
    state |= {"latent_bias": drawn(WIDTH), "decoder.weight": drawn(D, WIDTH)}
    state |= {"stats_last_nonzero": torch.zeros(WIDTH, dtype=torch.long), "activation": kind}
    if kind == "TopK":
        state["activation_state_dict"] = {"k": K, "postact_fn": "ReLU"}
    torch.save(state, folder / "6.pt")

    def encode(x: Tensor) -> Tensor:
        seen = at_one_scale(x) if kind == "TopK" else x
        pre = (seen - state["pre_bias"]) @ state["encoder.weight"].T + state["latent_bias"]
        return top(pre, K) if kind == "TopK" else pre.relu()

    return Made(Source("openai", folder, "6.pt"), encode)


def matrices() -> dict[str, Tensor]:
    """Return the tensors that saev and Prisma both have."""
    return {
        "W_enc": drawn(D, WIDTH),
        "b_enc": drawn(WIDTH),
        "W_dec": drawn(WIDTH, D),
        "b_dec": drawn(D),
    }


def saev(kind: str, folder: Path) -> Made:
    """Return what `dump` writes of schema 5, or wrote before there were schemas, and `encode`."""
    w = matrices()
    state, threshold = dict(w), torch.tensor(1.5)
    header: dict[str, Any] = {"d_vit": D, "exp_factor": WIDTH // D}
    settings: dict[str, Any] = {}
    if kind == "before schemas":
        mean, norm = drawn(D, seed=2), 3.25
        torch.save(mean, folder / "mean.pt")
        settings = {"scale_mean": "mean.pt", "scale_norm": norm}
    else:
        activation = {"cls": kind, "params": {"top_k": K} if "TopK" in kind else {}}
        cfg = {"d_model": D, "d_sae": WIDTH, "activation": activation}
        header = {"schema": 5, "cfg": cfg, "commit": "0" * 40, "lib": "0.1.0"}
    if kind == "BatchTopK":
        state["activation.threshold"] = threshold
    with (folder / "sae.pt").open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        torch.save(state, file)

    def encode(x: Tensor) -> Tensor:
        if kind == "before schemas":
            x = (x - mean) / norm - w["b_dec"]
        pre = x @ w["W_enc"] + w["b_enc"]
        if kind == "TopK":
            return top(pre, K)
        return torch.where(pre > (threshold if kind == "BatchTopK" else 0), pre, 0)

    return Made(Source("saev", folder, settings=settings), encode)


def prisma(kind: str, folder: Path) -> Made:
    """Return what `save_config` writes, with the state, and `encode`."""
    gated, is_topk = kind == "gated", "topk" in kind
    w = matrices() | {n: drawn(WIDTH, seed=i) for i, n in enumerate(("r_mag", "b_mag", "b_gate"))}
    config = {
        "architecture": "gated" if gated else "standard",
        "activation_fn_str": "topk" if is_topk else "relu",
        "activation_fn_kwargs": {"k": K} if is_topk else {},
        "normalize_activations": "layer_norm" if "layer_norm" in kind else "none",
        "is_transcoder": False,
        "hook_point_layer": 10,
        "layer_subtype": "hook_resid_post",
        "cls_token_only": True,
        "use_patches_only": False,
    }
    torch.save(w, folder / "weights.pt")
    (folder / "config.json").write_text(json.dumps(config))

    def encode(x: Tensor) -> Tensor:
        seen = (at_one_scale(x) if "layer_norm" in kind else x) - w["b_dec"]
        if gated:
            size = (seen @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"]).relu()
            return size * (seen @ w["W_enc"] + w["b_gate"] > 0)
        pre = seen @ w["W_enc"] + w["b_enc"]
        return top(pre, K) if is_topk else pre.relu()

    return Made(Source("prisma", folder, layer=11, token="cls"), encode)


def overcomplete(kind: str, folder: Path) -> Made:
    """Return an SAE of overcomplete, and its own `encode`."""
    if "overcomplete" not in sys.modules:
        # Without its __init__, which draws figures and wants an older matplotlib.
        package = types.ModuleType("overcomplete")
        found = importlib.util.find_spec("overcomplete")
        assert found is not None
        package.__path__ = list(found.submodule_search_locations or [])
        sys.modules["overcomplete"] = package
    from overcomplete import sae as theirs

    name, _, encoder = kind.partition(", ")
    options: dict[str, Any] = {"encoder_module": encoder} if encoder == "mlp_bn_1" else {}
    options |= {"k": K} if name == "MpSAE" else {"top_k": K} if "TopK" in name else {}
    if name.startswith("RA"):
        options["points"] = drawn(2 * WIDTH, D, seed=9)
    if name == "BatchTopKSAE":
        options["top_k"] = K * TOKENS
    sae = getattr(theirs, name)(D, WIDTH, **options)
    redraw(sae)
    if encoder == "tied":
        sae.tied(bias=True)
    x = activations()
    with torch.no_grad():
        # In training mode once, which sets running thresholds, means and variances.
        sae.encode(x)
    sae.eval()
    torch.save(sae.state_dict(), folder / "sae.pt")
    settings: dict[str, Any] = {"class": name}
    settings |= {"k": K} if name in ("TopKSAE", "RATopKSAE", "MpSAE") else {}
    if name == "BatchTopKSAE":
        settings["threshold"] = float(sae.running_threshold)
    return Made(Source("overcomplete", folder, settings=settings), lambda x: sae.encode(x)[1])


def sparsify(kind: str, folder: Path) -> Made:
    """Return a coder of sparsify, and its own `encode`."""
    from sparsify import SparseCoder, SparseCoderConfig

    sae = SparseCoder(D, SparseCoderConfig(num_latents=WIDTH, k=K))
    redraw(sae)
    sae.save_to_disk(folder)

    def encode(x: Tensor) -> Tensor:
        values, latents, _ = sae.encode(x)
        return torch.zeros(len(x), WIDTH).scatter_(1, latents, values)

    return Made(Source("sparsify", folder), encode)


def dictionary_learning(kind: str, folder: Path) -> Made:
    """Return an autoencoder of dictionary_learning, and its own `encode`."""
    from dictionary_learning import dictionary
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    made: dict[str, Callable[[], nn.Module]] = {
        "AutoEncoderTopK": lambda: AutoEncoderTopK(D, WIDTH, K),
        "BatchTopKSAE": lambda: BatchTopKSAE(D, WIDTH, K),
        "MatryoshkaBatchTopKSAE": lambda: MatryoshkaBatchTopKSAE(D, WIDTH, K, [56, 200]),
    }
    sae: Any = made.get(kind, lambda: getattr(dictionary, kind)(D, WIDTH))()
    redraw(sae)
    state = sae.state_dict()
    if "threshold" in state:
        state["threshold"] = (
            state["threshold"].abs() if kind.startswith("Jump") else torch.tensor(1.5)
        )
    sae.load_state_dict(state)
    torch.save(state, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind, "k": K}}))
    if kind == "AutoEncoder":
        sae = dictionary.AutoEncoder.from_pretrained(folder / "ae.pt")
    return Made(Source("dictionary_learning", folder), sae.encode)


def saelens(kind: str, folder: Path) -> Made:
    """Return an SAE of SAELens, and its own `encode`."""
    import sae_lens

    architecture, _, normalisation = kind.partition(", ")
    name = {"topk": "TopK", "jumprelu": "JumpReLU", "matching_pursuit": "MatchingPursuit"}
    name |= {"standard": "Standard", "gated": "Gated"}
    options: dict[str, Any] = {"normalize_activations": normalisation} if normalisation else {}
    if architecture == "matching_pursuit":
        options |= {"max_iterations": K, "residual_threshold": 0.0}
        options["stop_on_duplicate_support"] = False
    if architecture == "topk":
        options |= {"k": K, "rescale_acts_by_decoder_norm": True}
    config = getattr(sae_lens, f"{name[architecture]}SAEConfig")
    sae = getattr(sae_lens, f"{name[architecture]}SAE")(config(d_in=D, d_sae=WIDTH, **options))
    redraw(sae)
    if architecture == "matching_pursuit":
        with torch.no_grad():
            sae.W_dec /= sae.W_dec.norm(dim=1, keepdim=True)
    sae.save_model(folder)
    return Made(Source("saelens", folder), sae.encode)


KINDS: dict[Callable[[str, Path], Made], tuple[str, ...]] = {
    saelens: ("standard", "topk", "jumprelu", "gated", "matching_pursuit", "topk, layer_norm"),
    sparsify: ("topk",),
    dictionary_learning: (
        "AutoEncoder",
        "AutoEncoderNew",
        "AutoEncoderTopK",
        "BatchTopKSAE",
        "MatryoshkaBatchTopKSAE",
        "JumpReluAutoEncoder",
        "GatedAutoEncoder",
    ),
    overcomplete: (
        "SAE",
        "TopKSAE",
        "TopKSAE, mlp_bn_1",
        "TopKSAE, tied",
        "BatchTopKSAE",
        "JumpSAE",
        "MpSAE",
        "RATopKSAE",
        "RAJumpSAE",
    ),
    saev: ("Relu", "TopK", "BatchTopK", "before schemas"),
    prisma: ("standard", "topk", "standard, layer_norm", "topk, layer_norm", "gated"),
    openai: ("ReLU", "TopK"),
}
BY_FORMULA = (saev, prisma, openai)
"""Libraries that are not on PyPI."""


def codes(make: Callable[[str, Path], Made], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the library's own codes and ours of the same activations."""
    with tempfile.TemporaryDirectory() as name:
        made, weights = make(kind, Path(name)), Path(name) / "read" / "sae.safetensors"
        x = activations()
        with torch.no_grad():
            theirs = made.encode(x).numpy()
        import_dictionary(made.source, weights)
        dictionary = Dictionary.load(weights)
        return theirs, dictionary.encode(dictionary.normalise(x.numpy()))


def rows() -> Iterator[str]:
    """Yield the lines of the table, measured."""
    yield "| format | library | files | kind | largest code | largest difference | refused |"
    yield "|---|---|---|---|---|---|---|"
    for make, kinds in KINDS.items():
        form = make.__name__
        library, package, refused = SAID[form]
        of = package if make in BY_FORMULA else version(package)
        for n, kind in enumerate(kinds):
            theirs, ours = codes(make, kind)
            known = (f"`{form}`", f"{library} ({of})", ", ".join(f"`{f}`" for f in FILES[form]))
            first = known if n == 0 else ("", "", "")
            number = f"{np.abs(theirs - ours).max():.0e}"
            cells = [*first, f"`{kind}`", f"{theirs.max():.1f}", number, "" if n else refused]
            yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    torch.manual_seed(0)
    page = Path(sys.argv[1])
    mark = "<!-- from benchmarks/formats.py, by make formats -->"
    page.write_text(fill_in(page.read_text(), mark, "\n".join(rows())))
