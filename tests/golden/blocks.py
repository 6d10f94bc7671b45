# SPDX-License-Identifier: MIT
#
# blocks.py: random blocks of every quantized type that sherd reads, and the floats that gguf-py's
# dequantizers make of them: golden values for types that gguf-py can't quantize to, too.
#
#   blocks.py FILE
import struct
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q

TYPES = [Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q4_K, Q.Q5_K, Q.Q6_K]
COLS = 768
# where in a block the half floats are: random bytes there would be NaN or huge
HALVES = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q4_K: [0, 2],
          Q.Q5_K: [0, 2], Q.Q6_K: [208]}


def random_row(rng, qtype):
    x = rng.standard_normal(COLS).astype(np.float32)
    if qtype not in HALVES:
        return gguf.quants.quantize(x, qtype).view(np.uint8)
    block, size = gguf.GGML_QUANT_SIZES[qtype]
    row = rng.integers(0, 256, (COLS // block, size), dtype=np.uint8)
    for at in HALVES[qtype]:
        row[:, at:at + 2] = rng.standard_normal((len(row), 1)).astype(np.float16).view(np.uint8)
    return row.reshape(-1)


def main():
    """Magic, number of types, columns; for each type its number, bytes, the row (padded to 4), its floats."""
    rng = np.random.default_rng(1)
    with open(sys.argv[1], "wb") as f:
        f.write(b"SHBLOCK1" + struct.pack("<2I", len(TYPES), COLS))
        for t in TYPES:
            row = random_row(rng, t)
            raw = row.view(np.float16) if t == Q.F16 else row
            f.write(struct.pack("<2I", t, row.nbytes) + row.tobytes() +
                    bytes(-row.nbytes % 4) +
                    gguf.quants.dequantize(raw, t).astype("<f4").tobytes())


main()
