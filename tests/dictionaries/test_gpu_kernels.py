"""That Triton makes machine code of the kernels, for cards that are not here.

What the kernels compute is in test_gpu_step.py, by Triton's interpreter.
"""

import pytest

triton = pytest.importorskip("triton")
FLOATS, HALVES, INTEGERS, LONG = "*fp32", "*i16", "*i32", "*i64"
SELECTION = {"pre": HALVES, "bound": INTEGERS, "above": INTEGERS, "ties": INTEGERS}
SELECTION |= {"found": INTEGERS, "counts": INTEGERS, "offset": LONG, "positions": LONG}
ENTRIES = {"latent": INTEGERS, "row_of": INTEGERS, "part_of": INTEGERS, "position": INTEGERS}
ENTRIES |= {"bounds": LONG, "starts": LONG, "firing": LONG, "scale": "fp32"}
TYPES = SELECTION | ENTRIES | dict.fromkeys(("width", "rows", "d", "k"), "i32")
KERNELS = {
    "_row_bounds": {"CHUNK": 8192, "BITS": 16},
    "_digit_counts": {"CHUNK": 8192, "BITS": 16, "SHIFT": 0},
    "_compact": {"CHUNK": 8192, "BITS": 16},
    "_decode": {"PARTS": 5, "D": 2048},
    "_update": {"LATENTS": 16, "D": 2048},
}


WIDE = {"pre": INTEGERS, "bound": LONG, "found": LONG}
"""What TF32's selection has in place of bfloat16's."""
CASES = [(name, False) for name in KERNELS]
CASES += [(name, True) for name in ("_row_bounds", "_digit_counts", "_compact")]


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("name", "wide"), CASES)
def test_kernels_compile(name, wide, capability, monkeypatch, tmp_path):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cladescope.dictionaries.training import gpu_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, constants = getattr(gpu_kernels, name), KERNELS[name] | ({"BITS": 32} if wide else {})
    types = TYPES | (WIDE if wide else {})
    types = {n: "constexpr" if n in constants else types.get(n, FLOATS) for n in kernel.arg_names}
    places = {(kernel.arg_names.index(key),): value for key, value in constants.items()}
    warps = gpu_kernels._warps(constants.get("CHUNK") or constants["D"])
    made = triton.compile(
        ASTSource(kernel, types, places),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps},
    )
    assert warps == 8
    assert len(made.asm["cubin"]) > 1000
    # Room for many programs beside each other.
    assert made.metadata.shared < 16_000
