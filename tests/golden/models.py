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
#   models.py FOLDER [NAME...]
import struct
import sys
from pathlib import Path

import families as f
import gguf
import numpy as np
import torch
from families import N_VOCAB
from gguf import GGMLQuantizationType as Q
from transformers.pytorch_utils import Conv1D

N_TOKENS = 300  # past the first chunk of 256 positions
# rows on both sides of the borders of tiles, pages and chunks
ROWS = [0, 1, 15, 16, 31, 32, 63, 64, 128, 255, 256, 257, 299]

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}

# Odd on purpose: widths that are no multiple of 32 or 16, one KV head, heads wider than the stream,
# 288 columns (a chunk and a group).
SMALL = dict(hidden_size=64, intermediate_size=288, num_attention_heads=4, num_key_value_heads=2,
             rope_theta=10000.0, rms_norm_eps=1e-5)
ROPED = dict(rope_theta=10000.0, rms_norm_eps=1e-5)
# some pairs turn fast, one is between, the rest turn slowly
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LONG = {"type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0, 2.5],
        "long_factor": [1.0, 1.5, 2.5, 4.0, 4.5, 5.0]}
MODELS = [  # name, family, type of the matrices, seed, config
    ("llama-f32", f.Llama, Q.F32, 1, dict(
        hidden_size=40, intermediate_size=52, num_hidden_layers=2, num_attention_heads=5,
        num_key_value_heads=1, **ROPED)),
    ("llama3-f16", f.Llama, Q.F16, 2, dict(
        hidden_size=72, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, rope_theta=10000.0, rms_norm_eps=1e-6,
        rope_scaling=LLAMA3, tie_word_embeddings=True)),
    ("llama-hd64-bf16", f.Llama, Q.BF16, 3, dict(
        hidden_size=64, intermediate_size=80, num_hidden_layers=1, num_attention_heads=2,
        head_dim=64, num_key_value_heads=1, rope_theta=500000.0, rms_norm_eps=1e-5)),
    ("qwen2-f32", f.Qwen2, Q.F32, 4, dict(
        hidden_size=48, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rope_theta=1000000.0, rms_norm_eps=1e-6)),
    ("gpt2-f32", f.Gpt2, Q.F32, 5, dict(n_embd=36, n_inner=76, n_layer=2, n_head=3)),
    ("llama-q8_0", f.Llama, Q.Q8_0, 6, dict(num_hidden_layers=1, **SMALL)),
    ("llama-q4_0", f.Llama, Q.Q4_0, 7, dict(num_hidden_layers=2, **SMALL)),
    ("llama-q4_1", f.Llama, Q.Q4_1, 8, dict(num_hidden_layers=1, **SMALL)),
    ("llama-q5_0", f.Llama, Q.Q5_0, 9, dict(num_hidden_layers=1, **SMALL)),
    ("llama-q5_1", f.Llama, Q.Q5_1, 10, dict(num_hidden_layers=1, **SMALL)),
    ("qwen2-q4_0", f.Qwen2, Q.Q4_0, 11, dict(
        hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=3, rope_theta=1000000.0, rms_norm_eps=1e-6)),
    ("gpt2-q8_0", f.Gpt2, Q.Q8_0, 12, dict(n_embd=32, n_inner=288, n_layer=2, n_head=2)),

    # windows that are shorter than a page, and longer than a chunk
    ("mistral-f16", f.Mistral, Q.F16, 13, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, head_dim=12, sliding_window=37, **ROPED)),
    ("qwen3-f16", f.Qwen3, Q.F16, 14, dict(
        hidden_size=40, intermediate_size=52, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, rope_theta=1000000.0, rms_norm_eps=1e-6,
        tie_word_embeddings=True)),
    ("opt-f16", f.Opt, Q.F16, 15, dict(
        hidden_size=36, ffn_dim=76, num_hidden_layers=2, num_attention_heads=3,
        word_embed_proj_dim=36)),
    ("opt-350m-f16", f.Opt, Q.F16, 16, dict(
        hidden_size=36, ffn_dim=60, num_hidden_layers=2, num_attention_heads=3,
        word_embed_proj_dim=20, do_layer_norm_before=False)),
    ("gptj-f16", f.GptJ, Q.F16, 17, dict(
        n_embd=36, n_inner=76, n_layer=2, n_head=3, rotary_dim=8)),
    ("phi3-f16", f.Phi3, Q.F16, 18, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, sliding_window=261, original_max_position_embeddings=64,
        rope_scaling=LONG, **ROPED)),
    ("gemma-f16", f.Gemma, Q.F16, 19, dict(
        hidden_size=40, intermediate_size=52, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=12, **ROPED)),
    ("gemma2-f16", f.Gemma2, Q.F16, 20, dict(
        hidden_size=40, intermediate_size=52, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, query_pre_attn_scalar=12, sliding_window=48,
        attn_logit_softcapping=2.0, final_logit_softcapping=5.0, **ROPED)),
    ("gemma3-f16", f.Gemma3, Q.F16, 21, dict(
        hidden_size=24, intermediate_size=28, num_hidden_layers=7, num_attention_heads=2,
        num_key_value_heads=1, head_dim=12, query_pre_attn_scalar=12, sliding_window=48,
        rope_theta=1000000.0, rope_local_base_freq=10000.0, rms_norm_eps=1e-6,
        rope_scaling={"rope_type": "linear", "factor": 8.0})),
    ("phi2-f16", f.Phi2, Q.F16, 22, dict(
        hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3,
        partial_rotary_factor=0.5)),
    ("falcon-f16", f.Falcon, Q.F16, 23, dict(
        hidden_size=36, num_hidden_layers=2, num_attention_heads=3, ffn_hidden_size=60)),
    ("gptneox-f16", f.GptNeoX, Q.F16, 24, dict(
        hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3,
        rotary_pct=0.5)),
    ("starcoder2-f16", f.Starcoder2, Q.F16, 25, dict(
        hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, rope_theta=10000.0)),
    ("stablelm-f16", f.StableLm, Q.F16, 26, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, partial_rotary_factor=0.5, use_qkv_bias=True)),
    ("granite-f16", f.Granite, Q.F16, 27, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, attention_multiplier=0.4, embedding_multiplier=3.0,
        residual_multiplier=0.6, logits_scaling=2.5, **ROPED)),
    ("olmo2-f16", f.Olmo2, Q.F16, 28, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, **ROPED)),
    ("mixtral-f16", f.Mixtral, Q.F16, 29, dict(
        hidden_size=36, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, num_local_experts=5, num_experts_per_tok=2, **ROPED)),
    ("mixtral-q8_0", f.Mixtral, Q.Q8_0, 30, dict(
        hidden_size=64, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=3, **ROPED)),
    ("qwen2moe-f16", f.Qwen2Moe, Q.F16, 31, dict(
        hidden_size=36, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=20,
        shared_expert_intermediate_size=28, **ROPED)),
    ("qwen3moe-f16", f.Qwen3Moe, Q.F16, 32, dict(
        hidden_size=36, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, num_experts=7, num_experts_per_tok=4,
        moe_intermediate_size=16, rope_theta=1000000.0, rms_norm_eps=1e-6)),
    ("bert-f16", f.Bert, Q.F16, 33, dict(
        hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3)),
    ("bert-q8_0", f.Bert, Q.Q8_0, 34, dict(
        hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=2)),
    ("distilbert-f16", f.DistilBert, Q.F16, 35, dict(
        dim=36, hidden_dim=44, n_layers=2, n_heads=3)),
    ("qwen2-yarn-f16", f.Qwen2, Q.F16, 36, dict(
        hidden_size=48, intermediate_size=44, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, rope_scaling=YARN, **ROPED)),
    ("olmo3-f16", f.Olmo3, Q.F16, 37, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=1, sliding_window=40, rope_scaling=YARN, **ROPED)),
    ("smollm3-f16", f.SmolLm3, Q.F16, 38, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=1, **ROPED)),
    ("exaone-f16", f.Exaone, Q.F16, 39, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=1, num_attention_heads=3,
        num_key_value_heads=1, rope_scaling=LLAMA3, **ROPED)),
    ("exaone4-f16", f.Exaone4, Q.F16, 42, dict(
        hidden_size=36, intermediate_size=44, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=1, sliding_window=40, **ROPED)),
    ("falcon40-f16", f.Falcon40, Q.F16, 40, dict(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2,
        ffn_hidden_size=60)),
    ("stablelm12-f16", f.StableLm12, Q.F16, 41, dict(
        hidden_size=48, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, partial_rotary_factor=0.5)),
]


def randomize(model, family):
    """Weights large enough for attention and activations to leave their linear range; no norm or
    bias stays at its neutral value."""
    embeddings = ("embed", "wte", "wpe", "lm_head")
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                emb = any(e in name for e in embeddings)
                fan_in = p.shape[0] if is_conv1d(model, name) else p.shape[1]
                p.normal_(0, 0.5 if emb else 1.0 / fan_in ** 0.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.2)
            else:
                p.normal_(family.norm_base, 0.2)


def is_conv1d(model, name):
    return isinstance(model.get_submodule(name.rsplit(".", 1)[0]), Conv1D)


def quantize(w, qtype):
    """Encoded rows, padded with zeros to whole blocks, and the floats that they stand for."""
    block, _ = gguf.GGML_QUANT_SIZES[qtype]
    padded = np.pad(w, ((0, 0), (0, -w.shape[1] % block)))
    data = gguf.quants.quantize(padded, qtype)
    return data, gguf.quants.dequantize(data, qtype)[:, :w.shape[1]]


def round_weights(model, family, qtype, positions=False):
    """Replaces every matrix by what @qtype can hold; returns the encoded rows by name. In quantized
    files llama.cpp leaves GPT-2's position table in F32; sherd's --bits rounds it too (@positions)."""
    encoded = {}
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() != 2 or (is_position(name) and not positions and qtype != Q.F16):
                continue
            if name.endswith(family.floats):
                continue
            there, back = family.turn(model.config, name)
            rows = family.rows(name)
            w = there(p.numpy())
            encoded[name], rounded = quantize(w[rows], qtype)
            w[rows] = rounded
            p.copy_(torch.from_numpy(back(w.astype(np.float32))))
    return encoded


def is_position(name):
    return "wpe" in name or "embed_positions" in name or "position_embeddings" in name


def round_input(module, args):
    """The quantizer of activations: int8 in groups of 32, d = amax / 127."""
    x = args[0]
    g = torch.nn.functional.pad(x, (0, -x.shape[-1] % 32)).unflatten(-1, (-1, 32))
    d = g.abs().amax(-1, keepdim=True) * torch.tensor(1 / 127, dtype=torch.float32)
    r = torch.where(d > 0, 1 / d, torch.zeros(()))
    q = torch.round(g * r).clamp(-127, 127)
    return ((q * d).flatten(-2)[..., :x.shape[-1]],) + args[1:]


def logits(model, family, tokens, int8):
    hooks = [m.register_forward_pre_hook(round_input) for name, m in model.named_modules()
             if int8 and isinstance(m, (torch.nn.Linear, Conv1D))
             and not f"{name}.weight".endswith(family.floats)]
    with torch.no_grad():
        out = model(torch.tensor([tokens]))
        out = (out.last_hidden_state if family.encoder else out.logits)[0, ROWS].numpy()
    for h in hooks:
        h.remove()
    return out


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


def write_gguf(path, name, family, qtype, model, encoded):
    w = gguf.GGUFWriter(path, family.arch)
    cfg = model.config
    w.add_name(family.title(name))
    family.put(w, cfg)
    put_tokenizer(w)
    stacks = {}
    for pname, p in model.named_parameters():
        stack = family.stack(pname)
        if stack:
            part = encoded.get(pname)
            part = p.detach().numpy() if part is None else part
            stacks.setdefault(stack[0], []).append(part)
            assert len(stacks[stack[0]]) == stack[1] + 1
            continue
        tname = family.tensor_name(pname, cfg)
        if pname in encoded:
            w.add_tensor(tname, encoded[pname], raw_dtype=qtype)
            continue
        there, _ = family.turn(cfg, pname)
        x = there(p.detach().numpy())[family.rows(pname)]
        w.add_tensor(tname, family.vector(pname, x))
    for tname, parts in stacks.items():  # of matrices, or of vectors
        kind = {"raw_dtype": qtype} if "_exps" in tname else {}
        w.add_tensor(tname, np.stack(parts), **kind)
    for tname, x in family.more_tensors(cfg).items():
        w.add_tensor(tname, x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_gold(path, tokens, sections):
    """See test_golden.c: magic, counts, tokens, rows, then sections of a name and logits."""
    width = sections["float"].shape[1]
    with open(path, "wb") as f:
        f.write(b"SHGOLD1\n" + struct.pack("<4I", len(tokens), len(ROWS), width, len(sections)))
        f.write(np.array(tokens, "<i4").tobytes() + np.array(ROWS, "<i4").tobytes())
        for name, x in sections.items():
            f.write(name.encode().ljust(8, b"\0") + x.astype("<f4").tobytes())


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def make(folder, name, family, qtype, seed, config):
    torch.manual_seed(seed)
    family = family()
    model = family.build(**config).eval()
    randomize(model, family)
    tokens = torch.randint(0, N_VOCAB, (N_TOKENS,)).tolist()
    encoded = round_weights(model, family, qtype)
    write_gguf(folder / f"{name}.gguf", name, family, qtype, model, encoded)
    sections = {"float": logits(model, family, tokens, False)}
    if qtype in (Q.F32, Q.F16, Q.BF16):
        state = {k: v.clone() for k, v in model.state_dict().items()}
        for bits, q in ((8, Q.Q8_0), (4, Q.Q4_0)):
            model.load_state_dict(state)
            round_weights(model, family, q, positions=True)
            sections[f"bits{bits}"] = logits(model, family, tokens, True)
    else:
        sections["int8"] = logits(model, family, tokens, True)
    write_gold(folder / f"{name}.gold", tokens, sections)
    print(f"{name:16} logits' rms {np.sqrt((sections['float'] ** 2).mean()):.2f}, from float: " +
          ", ".join(f"{k} {distance(v, sections['float']):.2e}" for k, v in sections.items()
                    if k != "float"))


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    only = sys.argv[2:]
    for row in MODELS:
        if not only or row[0] in only:
            make(Path(sys.argv[1]), *row)


main()
