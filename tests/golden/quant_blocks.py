#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden values for tests/unit/test_quant.c: random blocks of every quantized type with the floats that
they stand for, and random floats with the blocks that they round to, both by the `gguf` package, which
shares no code with sherd.

    pip install -r tests/golden/requirements.txt (gguf and numpy are enough)
    python3 tests/golden/quant_blocks.py > tests/golden/quant_blocks.h
"""
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

# Byte offsets of the halves of a block: all else is random bits.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
# Types that came later: a generator of their own leaves the values above as they are.
HALVES_MORE = {T.Q2_K: [80, 82], T.Q3_K: [108], T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: []}
# MXFP4's scale is a byte, a power of two: the largest whose weights are finite, and the least that
# sherd does not take for zero.
EXPONENTS = [252, 28, 127, 128]
# Scales at the borders: zeros, the smallest and largest denormal and normal halves, and one.
EDGES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00]


def random_half(rng):
    """A finite half: mostly of the sizes that weights have, sometimes any."""
    if rng.random() < 0.7:
        return int(np.float16(rng.normal() * 0.05).view(np.uint16))
    while True:
        bits = int(rng.integers(0, 1 << 16))
        if bits & 0x7C00 != 0x7C00:
            return bits


def blocks_of(rng, kind, halves, count):
    _, size = GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for i in range(count):
        if kind == T.MXFP4:
            raw[i, 0] = EXPONENTS[i] if i < len(EXPONENTS) else rng.integers(100, 140)
        for j, at in enumerate(halves):
            half = EDGES[(i + 3 * j) % 8] if i < (count + 1) // 2 else random_half(rng)
            raw[i, at:at + 2] = np.frombuffer(np.uint16(half).tobytes(), np.uint8)
    return raw


def array(ctype, name, values, form, per_line):
    print(f"static const {ctype} {name}[{len(values)}] = {{")
    for i in range(0, len(values), per_line):
        print("\t" + " ".join(form.format(int(v)) + "," for v in values[i:i + per_line]))
    print("};")


def block_goldens(rng, kinds):
    for kind, halves in kinds.items():
        n, _ = GGML_QUANT_SIZES[kind]
        raw = blocks_of(rng, kind, halves, 10 if n == 32 else 3)
        with np.errstate(all="ignore"):
            floats = dequantize(raw, kind).astype(np.float32)
        array("uint8_t", f"golden_{kind.name}_blocks", raw.ravel(), "{}", 24)
        array("uint32_t", f"golden_{kind.name}_floats", floats.ravel().view(np.uint32),
              "0x{:08x}", 8)


def main():
    rng = np.random.default_rng(20240607)
    print("/* SPDX-License-Identifier: MIT */")
    print("/* Made by quant_blocks.py; do not edit. Floats are given as their bits. */")
    block_goldens(rng, HALVES)
    x = (rng.normal(size=(1, 256)) * np.repeat(10.0 ** np.arange(-3, 5), 32)).astype(np.float32)
    x[0, 32:64] = 0
    x[0, 64] = -np.abs(x[0, 64:96]).max()
    array("uint32_t", "golden_source_floats", x.ravel().view(np.uint32), "0x{:08x}", 8)
    for kind in (T.Q4_0, T.Q8_0):
        array("uint8_t", f"golden_{kind.name}_rounded", quantize(x, kind).ravel(), "{}", 24)
    block_goldens(np.random.default_rng(20261129), HALVES_MORE)


if __name__ == "__main__":
    main()
