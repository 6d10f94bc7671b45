# SPDX-License-Identifier: MIT
#
# make_model.py: a GGUF file with random weights, which benchmarks run on. Nobody's weights and
# nobody's vocabulary: speed depends on neither.
#
#   make_model.py FILE [--shape NAME] [--q8_0]      f16, unless --q8_0
#
# Shapes: tinyllama (TinyLlama-1.1B's, the default), pipeline (24 layers, 344 M parameters, and a
# vocabulary so small that the layers are nearly all of it), tiny (two narrow layers, to try the
# scripts out).
import argparse
import itertools

import gguf
import numpy as np

# width, layers, heads, heads of the KV cache, width of the feed-forward network, vocabulary
SHAPES = {
    "tinyllama": (2048, 22, 32, 4, 5632, 32000),
    "pipeline": (1024, 24, 16, 4, 3584, 8192),
    "tiny": (256, 2, 8, 4, 512, 32000),
}


def pieces():
    """A SentencePiece-style vocabulary: controls, bytes, characters, then syllables up to VOCAB."""
    yield from (("<unk>", 2), ("<s>", 3), ("</s>", 3))
    yield from ((f"<0x{b:02X}>", 6) for b in range(256))
    yield from ((c, 1) for c in ["\u2581"] + [chr(c) for c in range(0x21, 0x7F)])
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiouy"]
    for n in itertools.count(1):
        for word in itertools.product(syllables, repeat=n):
            yield "".join(word), 1
            yield "\u2581" + "".join(word), 1


def put_header(w):
    w.add_name(f"random weights in the shape '{args.shape}'")
    w.add_context_length(2048)
    w.add_embedding_length(DIM)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(DIM // HEADS)
    w.add_rope_freq_base(10000.0)
    w.add_vocab_size(VOCAB)
    w.add_file_type(
        gguf.LlamaFileType.MOSTLY_Q8_0 if args.q8_0 else gguf.LlamaFileType.MOSTLY_F16
    )
    vocab = list(itertools.islice(pieces(), VOCAB))
    w.add_tokenizer_model("llama")
    w.add_token_list([p.encode() for p, _ in vocab])
    w.add_token_scores([-float(i) for i in range(VOCAB)])
    w.add_token_types([t for _, t in vocab])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)


def shapes():
    """(name, rows, columns); no rows: a norm's vector."""
    kv = DIM // HEADS * KV_HEADS
    yield "token_embd", VOCAB, DIM
    for i in range(LAYERS):
        for name, rows, cols in (
            ("attn_norm", 0, DIM),
            ("attn_q", DIM, DIM),
            ("attn_k", kv, DIM),
            ("attn_v", kv, DIM),
            ("attn_output", DIM, DIM),
            ("ffn_norm", 0, DIM),
            ("ffn_gate", FFN, DIM),
            ("ffn_up", FFN, DIM),
            ("ffn_down", DIM, FFN),
        ):
            yield f"blk.{i}.{name}", rows, cols
    yield "output_norm", 0, DIM
    yield "output", VOCAB, DIM


def put_matrix(w, name, x):
    if args.q8_0:
        q8_0 = gguf.GGMLQuantizationType.Q8_0
        w.add_tensor(name, gguf.quants.quantize(x, q8_0), raw_dtype=q8_0)
    else:
        w.add_tensor(name, x.astype(np.float16))


def main():
    rng = np.random.default_rng(0)
    w = gguf.GGUFWriter(args.file, "llama")
    put_header(w)
    for name, rows, cols in shapes():
        if rows:
            x = rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(0.02)
            put_matrix(w, name + ".weight", x)
        else:
            w.add_tensor(name + ".weight", np.ones(cols, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--shape", choices=SHAPES, default="tinyllama")
parser.add_argument("--q8_0", action="store_true")
args = parser.parse_args()
DIM, LAYERS, HEADS, KV_HEADS, FFN, VOCAB = SHAPES[args.shape]
main()
