#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the seeds of fuzz_hf: small files of a Hugging Face folder, each with the byte before it that says
which file it is. Plain Python; the same bytes each time.

    python3 tests/fuzz/corpus_hf.py [tests/fuzz/corpus/hf]
"""
import json
import os
import struct
import sys

CONFIG, TENSORS, INDEX, TOKENIZER, SPM, TOK_CONFIG, VOCAB, MAP = range(8)
NEOX, STABLELM = 8, 16  # added: the file is of such a model
LLAMA = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 4, "intermediate_size": 4,
         "vocab_size": 3, "num_attention_heads": 2}


def tensors(header, data=b""):
    h = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(h)) + h + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def field(number, v):
    if isinstance(v, int):
        return varint(number << 3) + varint(v)
    if isinstance(v, float):
        return varint(number << 3 | 5) + struct.pack("<f", v)
    v = v.encode() if isinstance(v, str) else v
    return varint(number << 3 | 2) + varint(len(v)) + v


def piece(text, score, kind=1):
    return field(1, field(1, text) + field(2, score) + field(3, kind))


def spm(kind, normalizer):
    special = piece("<unk>", 0.0, 2) + piece("<s>", 0.0, 3) + piece("</s>", 0.0, 3)
    words = b"".join(piece(p, -float(i)) for i, p in enumerate(["\u2581t", "he", "\u2581the", "e", "h", "t"]))
    byte = b"".join(piece(f"<0x{i:02X}>", 0.0, 6) for i in range(4))
    return special + byte + words + field(2, field(3, kind) + field(35, 1)) + field(3, normalizer)


def bpe(**kw):
    letters = [chr(c) for c in list(range(0x21, 0x7f)) + [0x100 + b for b in range(0x21)]]
    vocab = {p: i for i, p in enumerate(letters + ["th", "the", "\u0120the"])}
    return {"model": {"type": "BPE", "vocab": vocab, "merges": ["t h", ["th", "e"], "\u0120 the"]},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "post_processor": {"type": "TemplateProcessing", "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]},
            "added_tokens": [{"id": len(vocab), "content": "<s>", "special": True, "rstrip": True}], **kw}


WORDPIECE = {"model": {"type": "WordPiece", "unk_token": "[UNK]",
                       "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3, "##e": 4, "f": 5}},
             "normalizer": {"type": "BertNormalizer", "lowercase": True},
             "pre_tokenizer": {"type": "BertPreTokenizer"},
             "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}}
UNIGRAM = {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["\u2581", -1.5], ["the", -2]]},
           "normalizer": {"type": "Sequence", "normalizers": [
               {"type": "Precompiled", "precompiled_charsmap": "CAAAAAAEAAAAAAAAAAA="},
               {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
           "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always", "split": True}}
MERGES = bpe(pre_tokenizer=None, normalizer={"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": "\u2581"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]})

SEEDS = {
    "config_llama": (CONFIG, LLAMA),
    "config_llama3": (CONFIG, {**LLAMA, "rope_scaling": {
        "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
        "original_max_position_embeddings": 32}}),
    "config_phi3": (CONFIG, {**LLAMA, "model_type": "phi3", "partial_rotary_factor": 0.5, "rope_scaling": {
        "type": "longrope", "long_factor": [1], "short_factor": [1]}}),
    "config_gemma3": (CONFIG, {"model_type": "gemma3", "text_config": {
        **LLAMA, "model_type": "gemma3_text", "sliding_window": 4, "layer_types": ["sliding_attention"]}}),
    "config_mixtral": (CONFIG, {**LLAMA, "model_type": "mixtral", "num_local_experts": 2}),
    "config_opt": (CONFIG, {**LLAMA, "model_type": "opt", "do_layer_norm_before": False, "ffn_dim": 4}),
    "config_yarn": (CONFIG, {**LLAMA, "rope_scaling": {
        "rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 32, "mscale": 1,
        "mscale_all_dim": 0.5, "truncate": False}}),
    "config_falcon": (CONFIG, {**LLAMA, "model_type": "falcon", "new_decoder_architecture": True,
                               "num_kv_heads": 2, "num_attention_heads": 4}),
    "config_neox": (CONFIG, {**LLAMA, "model_type": "gpt_neox", "rotary_pct": 0.5}),
    "config_smollm3": (CONFIG, {**LLAMA, "model_type": "smollm3", "no_rope_layers": [1]}),
    "config_huge": (CONFIG, {**LLAMA, "num_hidden_layers": 2147483647, "head_dim": 2147483647}),
    "tensors_rotated": (TENSORS, tensors({
        "model.embed_tokens.weight": tensor("BF16", [3, 4], 0, 24),
        "model.layers.0.self_attn.q_proj.weight": tensor("F32", [4, 4], 24, 88),
        "model.layers.0.self_attn.k_proj.bias": tensor("F16", [4], 88, 96)}, bytes(96))),
    "tensors_grouped": (TENSORS + NEOX, tensors({
        "gpt_neox.embed_in.weight": tensor("F16", [3, 4], 0, 24),
        "gpt_neox.layers.0.attention.query_key_value.weight": tensor("F16", [12, 4], 24, 120),
        "gpt_neox.layers.0.attention.query_key_value.bias": tensor("BF16", [12], 120, 144)}, bytes(144))),
    "tensors_heads": (TENSORS + STABLELM, tensors({
        "model.embed_tokens.weight": tensor("F16", [3, 4], 0, 24),
        "model.layers.0.self_attn.q_layernorm.norms.0.weight": tensor("F32", [2], 24, 32),
        "model.layers.0.self_attn.q_layernorm.norms.1.weight": tensor("F32", [2], 32, 40)}, bytes(40))),
    "tensors_head_twice": (TENSORS + STABLELM, tensors({
        "model.layers.0.self_attn.k_layernorm.norms.0.weight": tensor("F32", [2], 0, 8),
        "layers.0.self_attn.k_layernorm.norms.0.weight": tensor("F32", [2], 8, 16)}, bytes(16))),
    "tensors_odd": (TENSORS, tensors({
        "model.norm.weight": tensor("U8", [1], 0, 1),
        "model.embed_tokens.weight": tensor("F16", [3, 4], 1, 25)}, bytes(25))),
    "tensors_unaligned": (TENSORS, tensors({
        "model.embed_tokens.weight": tensor("F32", [3, 4], 1, 49)}, bytes(49))),
    "tensors_overlap": (TENSORS, tensors({
        "a": tensor("F16", [4], 0, 8), "b": tensor("F16", [4], 4, 12)}, bytes(12))),
    "tensors_huge": (TENSORS, tensors({"a": tensor("F32", [1 << 62, 1 << 62], 0, 4)}, bytes(4))),
    "tensors_deep": (TENSORS, tensors(b"[" * 3000)),
    "tensors_long": (TENSORS, struct.pack("<Q", 1 << 63) + b"{}"),
    "index": (INDEX, {"weight_map": {"model.embed_tokens.weight": "model.safetensors"}}),
    "index_up": (INDEX, {"weight_map": {"a": "../../etc/passwd"}}),
    "bpe": (TOKENIZER, bpe()),
    "bpe_far": (TOKENIZER, bpe(added_tokens=[{"id": 4194303, "content": "<s>"}])),
    "bpe_frame": (TOKENIZER, bpe(post_processor={"type": "Sequence", "processors": [
        {"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "the"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "th"}}],
            "special_tokens": {"the": {"ids": [7]}}}]})),
    "merges": (TOKENIZER, MERGES),
    "wordpiece": (TOKENIZER, WORDPIECE),
    "unigram": (TOKENIZER, UNIGRAM),
    "spm_bpe": (SPM, spm(2, field(3, 1) + field(4, 0))),
    "spm_unigram": (SPM, spm(1, field(2, bytes([8]) + bytes(11)) + field(3, 1))),
    "spm_empty": (SPM, b""),
    "spm_nested": (SPM, b"\x0a\x03\x0a\x7f\x0a"),
    "spm_long_varint": (SPM, b"\xff" * 12),
    "tok_config": (TOK_CONFIG, {"chat_template": [{"name": "default", "template": "{{ x }}"}],
                                "added_tokens_decoder": {"1": {"content": "a", "lstrip": True}, "-4": {}},
                                "model_max_length": 10 ** 30}),
    "vocab": (VOCAB, b"[PAD]\n[UNK]\r\n[CLS]\nthe\n##e\n\n"),
    "map": (MAP, {"bos_token": "a", "additional_special_tokens": [7, "b"]}),
}


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "tests/fuzz/corpus/hf"
    os.makedirs(folder, exist_ok=True)
    for name, (which, data) in SEEDS.items():
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        with open(os.path.join(folder, name), "wb") as f:
            f.write(bytes([which]) + data)


main()
