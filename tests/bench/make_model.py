# SPDX-License-Identifier: MIT
#
# make_model.py: a GGUF file of TinyLlama-1.1B's shape with random weights, f16: what the
# comparison with llama.cpp runs on. Nobody's weights and nobody's vocabulary: speed depends on
# neither.
#
#   make_model.py FILE [--tiny]        --tiny: two narrow layers, to try the scripts out
import itertools
import sys

import gguf
import numpy as np

DIM, LAYERS, HEADS, KV_HEADS, FFN, VOCAB = 2048, 22, 32, 4, 5632, 32000


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
    w.add_name("random weights in TinyLlama-1.1B's shape")
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
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
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


def main():
    global DIM, LAYERS, HEADS, FFN
    if "--tiny" in sys.argv:
        DIM, LAYERS, HEADS, FFN = 256, 2, 8, 512
    rng = np.random.default_rng(0)
    w = gguf.GGUFWriter(sys.argv[1], "llama")
    put_header(w)
    for name, rows, cols in shapes():
        if rows:
            x = rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(0.02)
            w.add_tensor(name + ".weight", x.astype(np.float16))
        else:
            w.add_tensor(name + ".weight", np.ones(cols, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main()
