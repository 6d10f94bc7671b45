#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the seeds of fuzz_gguf: small files that reach each part of the reader, and files that were once,
or could have been, the ruin of one. Plain Python; the same bytes each time.

    python3 tests/fuzz/corpus_gguf.py [tests/fuzz/corpus/gguf]
"""
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q",
           I64: "q", F64: "d"}
# Number, elements and bytes of a block.
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "I8": (24, 1, 1), "Q4_0": (2, 32, 18),
         "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
         "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18),
         "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "IQ4_XS": (23, 256, 136), "MXFP4": (39, 32, 17)}


def string(s):
    b = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(b)) + b


def payload(kind, v):
    if kind == STR:
        return string(v)
    if kind == ARR:
        elem, items = v
        return struct.pack("<IQ", elem, len(items)) + b"".join(payload(elem, i) for i in items)
    return struct.pack("<" + FORMATS[kind], v)


def value(key, kind, v):
    return string(key) + struct.pack("<I", kind) + payload(kind, v)


def pad(b, align):
    return b + bytes(-len(b) % align)


def gguf(values, tensors=(), version=3, align=32, n_values=None, n_tensors=None):
    """values: (key, kind, v); tensors: (name, type, dims)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                                 len(values) if n_values is None else n_values)
    data = b""
    for v in values:
        head += value(*v)
    for name, kind, dims in tensors:
        number, block, size = TYPES[kind]
        n = 1
        for d in dims:
            n *= d
        head += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, len(data))
        data = pad(data + bytes(i * 37 % 120 for i in range(n // block * size)), align)
    return pad(head, align) + data if tensors else head


def hparams(arch):
    return [("general.architecture", STR, arch), (arch + ".block_count", U32, 1),
            (arch + ".context_length", U32, 64), (arch + ".embedding_length", U32, 32),
            (arch + ".feed_forward_length", U32, 64), (arch + ".attention.head_count", U32, 2),
            (arch + ".attention.head_count_kv", U32, 1),
            (arch + ".attention.layer_norm_rms_epsilon", F32, 1e-5),
            (arch + ".attention.layer_norm_epsilon", F32, 1e-5),
            (arch + ".rope.freq_base", F32, 1e4), (arch + ".rope.scaling.type", STR, "linear"),
            (arch + ".rope.scaling.factor", F32, 2.0),
            ("tokenizer.ggml.tokens", ARR, (STR, ["<s>", "a", "\u2581b"]))]


def seeds():
    scalars = [(f"k{k}", k, 1) for k in FORMATS] + [("s", STR, "text"), ("empty", STR, "")]
    arrays = [(f"a{k}", ARR, (k, [1, 0, 1])) for k in FORMATS] + [("none", ARR, (STR, []))]
    nested = [("n", ARR, (ARR, [(STR, ["x"]), (U8, [1, 2]), (ARR, [(I64, [-1])])]))]
    kinds = [(f"t.{t}", t, (TYPES[t][1] * 2, 2)) for t in TYPES]
    llama = hparams("llama")
    whole = gguf(llama, [("token_embd.weight", "Q8_0", (32, 3)), ("w", "F32", (5,))])
    yield "empty", b""
    yield "magic", b"GGUF"
    yield "scalars", gguf(scalars)
    yield "arrays", gguf(arrays)
    yield "nested", gguf(nested)
    yield "types", gguf([], kinds)
    yield "align", gguf([("general.alignment", U32, 64)], [("w", "F16", (3, 2, 2, 2))], align=64)
    yield "llama", whole
    yield "truncated", whole[:-200]
    for arch in ("gpt2", "qwen2", "gemma"):
        yield arch, gguf(hparams(arch))
    yield "shard", gguf([("general.architecture", STR, "sherd"),
                         ("sherd.source.architecture", STR, "llama"),
                         ("sherd.format.token_embd.weight", ARR, (U32, [1, 32, 2, 255, 3, 32]))]
                        + llama[1:])
    yield "vocab", gguf(llama, [("token_embd.weight", "F32", (32, 4))])
    yield "layers", gguf([("llama.block_count", ARR, (I32, [])) if v[0] == "llama.block_count" else v
                          for v in llama])
    yield "version2", gguf(scalars, version=2)
    yield "bigendian", gguf([], version=0x03000000)
    yield "manyvalues", gguf(scalars, n_values=1 << 40)
    yield "manytensors", gguf(scalars, n_tensors=(1 << 64) - 1)
    yield "twins", gguf([("k", U8, 1), ("k", U8, 2)])
    yield "hugedims", gguf([], [("w", "F32", (8,))]).replace(struct.pack("<IQ", 1, 8),
                                                              struct.pack("<IQ", 1, 1 << 62))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__),
                                                               "corpus", "gguf")
    os.makedirs(folder, exist_ok=True)
    for name, data in seeds():
        with open(os.path.join(folder, name + ".gguf"), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
