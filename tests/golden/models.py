# SPDX-License-Identifier: MIT
#
# models.py: tiny seeded models of each architecture, built and run by transformers, written as GGUF
# with the conventions of llama.cpp's converter, and beside each its logits (NAME.gold).
#
# A quantized file's golden values are computed by torch from the dequantized weights, twice: with
# float activations ("float"), and with the input of every matmul rounded to int8 in groups of 32
# ("int8", Documentation/arithmetic.rst). The distance between the two is what quantizing the
# activations costs in this model, and test_golden.c takes its tolerance from it. Float files also
# have "bits8" and "bits4": what `--bits` makes of them.
#
#   models.py FOLDER
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM)
from transformers.pytorch_utils import Conv1D

N_VOCAB = 97
N_CTX = 320
N_TOKENS = 300  # past the first chunk of 256 positions
# rows on both sides of the borders of tiles, pages and chunks
ROWS = [0, 1, 15, 16, 31, 32, 63, 64, 128, 255, 256, 257, 299]

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}


def llama(**kw):
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=N_VOCAB, max_position_embeddings=N_CTX, attn_implementation="eager", **kw))


def qwen2(**kw):
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=N_VOCAB, max_position_embeddings=N_CTX, attn_implementation="eager",
        use_sliding_window=False, tie_word_embeddings=True, **kw))


def gpt2(**kw):
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=N_VOCAB, n_positions=N_CTX, attn_implementation="eager", resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, **kw))


# Odd on purpose: widths that are no multiple of 32 or 16, one KV head, heads wider than the stream,
# 288 columns (a chunk and a group).
SMALL = dict(hidden_size=64, intermediate_size=288, num_attention_heads=4, num_key_value_heads=2,
             rope_theta=10000.0, rms_norm_eps=1e-5)
MODELS = [  # name, gguf architecture, type of the matrices, seed, model
    ("llama-f32", "llama", Q.F32, 1, lambda: llama(
        hidden_size=40, intermediate_size=52, num_hidden_layers=2, num_attention_heads=5,
        num_key_value_heads=1, rope_theta=10000.0, rms_norm_eps=1e-5)),
    ("llama3-f16", "llama", Q.F16, 2, lambda: llama(
        hidden_size=72, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, rope_theta=10000.0, rms_norm_eps=1e-6,
        rope_scaling=LLAMA3, tie_word_embeddings=True)),
    ("llama-hd64-bf16", "llama", Q.BF16, 3, lambda: llama(
        hidden_size=64, intermediate_size=80, num_hidden_layers=1, num_attention_heads=2,
        head_dim=64, num_key_value_heads=1, rope_theta=500000.0, rms_norm_eps=1e-5)),
    ("qwen2-f32", "qwen2", Q.F32, 4, lambda: qwen2(
        hidden_size=48, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rope_theta=1000000.0, rms_norm_eps=1e-6)),
    ("gpt2-f32", "gpt2", Q.F32, 5, lambda: gpt2(n_embd=36, n_inner=76, n_layer=2, n_head=3)),
    ("llama-q8_0", "llama", Q.Q8_0, 6, lambda: llama(num_hidden_layers=1, **SMALL)),
    ("llama-q4_0", "llama", Q.Q4_0, 7, lambda: llama(num_hidden_layers=2, **SMALL)),
    ("llama-q4_1", "llama", Q.Q4_1, 8, lambda: llama(num_hidden_layers=1, **SMALL)),
    ("llama-q5_0", "llama", Q.Q5_0, 9, lambda: llama(num_hidden_layers=1, **SMALL)),
    ("llama-q5_1", "llama", Q.Q5_1, 10, lambda: llama(num_hidden_layers=1, **SMALL)),
    ("qwen2-q4_0", "qwen2", Q.Q4_0, 11, lambda: qwen2(
        hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=3, rope_theta=1000000.0, rms_norm_eps=1e-6)),
    ("gpt2-q8_0", "gpt2", Q.Q8_0, 12, lambda: gpt2(n_embd=32, n_inner=288, n_layer=2, n_head=2)),
]


def randomize(model):
    """Weights large enough for attention and activations to leave their linear range; no norm or
    bias stays at its neutral value."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                emb = "embed" in name or "wte" in name or "wpe" in name or "lm_head" in name
                fan_in = p.shape[0] if is_conv1d(model, name) else p.shape[1]
                p.normal_(0, 0.5 if emb else 1.0 / fan_in ** 0.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.2)
            else:
                p.normal_(1, 0.2)


def is_conv1d(model, name):
    return isinstance(model.get_submodule(name.rsplit(".", 1)[0]), Conv1D)


def permute(w, n_head):
    """Hugging Face's halves that rotate together -> GGUF's neighbours (Llama only)."""
    return np.ascontiguousarray(
        w.reshape(n_head, 2, w.shape[0] // n_head // 2, -1).swapaxes(1, 2).reshape(w.shape))


def unpermute(w, n_head):
    return np.ascontiguousarray(
        w.reshape(n_head, w.shape[0] // n_head // 2, 2, -1).swapaxes(1, 2).reshape(w.shape))


def heads_of(cfg, name):
    """How many heads' rows the llama tensor @name stacks; 0: it is not rotated."""
    if name.endswith("q_proj.weight"):
        return cfg.num_attention_heads
    return cfg.num_key_value_heads if name.endswith("k_proj.weight") else 0


def quantize(w, qtype):
    """Encoded rows, padded with zeros to whole blocks, and the floats that they stand for."""
    block, _ = gguf.GGML_QUANT_SIZES[qtype]
    padded = np.pad(w, ((0, 0), (0, -w.shape[1] % block)))
    data = gguf.quants.quantize(padded, qtype)
    return data, gguf.quants.dequantize(data, qtype)[:, :w.shape[1]]


def matrices(model, arch, positions):
    """(name, parameter, to GGUF's rows, back) of every matrix. @positions: GPT-2's table too."""
    for name, p in model.named_parameters():
        if p.dim() != 2 or ("wpe" in name and not positions):
            continue
        n_head = heads_of(model.config, name) if arch == "llama" else 0
        if n_head:
            yield name, p, lambda w, n=n_head: permute(w, n), lambda w, n=n_head: unpermute(w, n)
        elif is_conv1d(model, name):
            yield name, p, lambda w: np.ascontiguousarray(w.T), lambda w: np.ascontiguousarray(w.T)
        else:
            yield name, p, lambda w: w, lambda w: w


def round_weights(model, arch, qtype, positions=False):
    """Replaces every matrix by what @qtype can hold; returns the encoded rows by name. In quantized
    files llama.cpp leaves GPT-2's position table in F32; sherd's --bits rounds it too."""
    encoded = {}
    with torch.no_grad():
        for name, p, there, back in matrices(model, arch, positions):
            encoded[name], w = quantize(there(p.numpy()), qtype)
            p.copy_(torch.from_numpy(back(w.astype(np.float32))))
    return encoded


def round_input(module, args):
    """The quantizer of activations: int8 in groups of 32, d = amax / 127."""
    x = args[0]
    g = torch.nn.functional.pad(x, (0, -x.shape[-1] % 32)).unflatten(-1, (-1, 32))
    d = g.abs().amax(-1, keepdim=True) * torch.tensor(1 / 127, dtype=torch.float32)
    r = torch.where(d > 0, 1 / d, torch.zeros(()))
    q = torch.round(g * r).clamp(-127, 127)
    return ((q * d).flatten(-2)[..., :x.shape[-1]],) + args[1:]


def logits(model, tokens, int8):
    hooks = [m.register_forward_pre_hook(round_input) for m in model.modules()
             if int8 and isinstance(m, (torch.nn.Linear, Conv1D))]
    with torch.no_grad():
        out = model(torch.tensor([tokens])).logits[0, ROWS].numpy()
    for h in hooks:
        h.remove()
    return out


def rope_factors(cfg):
    """What transformers' Llama-3 scaling divides each frequency by: GGUF's tensor rope_freqs."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    plain, _ = ROPE_INIT_FUNCTIONS["default"](cfg, device="cpu")
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](cfg, device="cpu")
    return (plain / scaled).numpy().astype(np.float32)


def put_hparams(w, arch, cfg):
    w.add_context_length(N_CTX)
    w.add_embedding_length(cfg.hidden_size)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_head_count(cfg.num_attention_heads)
    if arch == "gpt2":  # the converter writes no vocab_size, and no KV heads
        w.add_feed_forward_length(cfg.n_inner)
        w.add_layer_norm_eps(cfg.layer_norm_epsilon)
        return
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    w.add_rope_freq_base(cfg.rope_theta)
    if arch == "llama":
        head_dim = cfg.head_dim or cfg.hidden_size // cfg.num_attention_heads
        w.add_vocab_size(N_VOCAB)
        w.add_rope_dimension_count(head_dim)
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)


def put_tokenizer(w):
    """Printable ASCII, a piece a character."""
    pieces = ["<unk>", "<s>", "</s>", "\u2581"] + [chr(c) for c in range(0x21, 0x7E)]
    assert len(pieces) == N_VOCAB
    w.add_tokenizer_model("llama")
    w.add_token_list([p.encode() for p in pieces])
    w.add_token_scores([0.0] * 3 + [-float(i) for i in range(N_VOCAB - 3)])
    w.add_token_types([2, 3, 3] + [1] * (N_VOCAB - 3))
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)


def write_gguf(path, name, arch, qtype, model, encoded):
    w = gguf.GGUFWriter(path, arch)
    kind = {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch]
    names = gguf.get_tensor_name_map(kind, model.config.num_hidden_layers)
    w.add_name(name)
    put_hparams(w, arch, model.config)
    put_tokenizer(w)
    for pname, p in model.named_parameters():
        tname = names.get_name(pname, try_suffixes=(".weight", ".bias"))
        if pname in encoded:
            w.add_tensor(tname, encoded[pname], raw_dtype=qtype)
        else:
            w.add_tensor(tname, p.detach().numpy())
    if getattr(model.config, "rope_scaling", None):
        w.add_tensor("rope_freqs.weight", rope_factors(model.config))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_gold(path, tokens, sections):
    """See test_golden.c: magic, counts, tokens, rows, then sections of a name and logits."""
    with open(path, "wb") as f:
        f.write(b"SHGOLD1\n" + struct.pack("<4I", len(tokens), len(ROWS), N_VOCAB, len(sections)))
        f.write(np.array(tokens, "<i4").tobytes() + np.array(ROWS, "<i4").tobytes())
        for name, x in sections.items():
            f.write(name.encode().ljust(8, b"\0") + x.astype("<f4").tobytes())


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def make(folder, name, arch, qtype, seed, build):
    torch.manual_seed(seed)
    model = build().eval()
    randomize(model)
    tokens = torch.randint(0, N_VOCAB, (N_TOKENS,)).tolist()
    encoded = round_weights(model, arch, qtype)
    write_gguf(folder / f"{name}.gguf", name, arch, qtype, model, encoded)
    sections = {"float": logits(model, tokens, False)}
    if qtype in (Q.F32, Q.F16, Q.BF16):
        state = {k: v.clone() for k, v in model.state_dict().items()}
        for bits, q in ((8, Q.Q8_0), (4, Q.Q4_0)):
            model.load_state_dict(state)
            round_weights(model, arch, q, positions=True)
            sections[f"bits{bits}"] = logits(model, tokens, True)
    else:
        sections["int8"] = logits(model, tokens, True)
    write_gold(folder / f"{name}.gold", tokens, sections)
    print(f"{name:16} logits' rms {np.sqrt((sections['float'] ** 2).mean()):.2f}, from float: " +
          ", ".join(f"{k} {distance(v, sections['float']):.2e}" for k, v in sections.items()
                    if k != "float"))


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for row in MODELS:
        make(Path(sys.argv[1]), *row)


main()
