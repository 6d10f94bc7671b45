# SPDX-License-Identifier: MIT
#
# hf_models.py: tiny seeded models of each family, saved by transformers as Hugging Face folders, and
# beside each the logits that transformers gives for the folder (NAME/logits.gold, as in
# tests/golden), or for an encoder its last hidden rows. A row here is what test_hf.c runs.
#
#   hf_models.py FOLDER [NAME...]
import json
import struct
import sys
import unittest.mock
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

N_VOCAB = 61
N_CTX = 64
N_TOKENS = 40
ROWS = [0, 1, 15, 16, 31, 32, 39]
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}

SMALL = dict(vocab_size=N_VOCAB, max_position_embeddings=N_CTX, hidden_size=24,
             intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, bos_token_id=1, eos_token_id=2)
LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.5, 2.0], "long_factor": [2.0, 4.0, 8.0]}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
        "beta_fast": 2.0, "beta_slow": 0.25, "attention_factor": 1.3, "truncate": False}
YARN_MSCALE = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
               "mscale": 1.0, "mscale_all_dim": 0.5}
HEADS = dict(head_dim=8, **SMALL)
ALL_HEADS = {k: v for k, v in SMALL.items() if k != "num_key_value_heads"}
GEMMA = dict(query_pre_attn_scalar=20, pad_token_id=0, **HEADS)
GPT2 = dict(vocab_size=N_VOCAB, n_positions=N_CTX, n_embd=24, n_layer=2, n_head=3, bos_token_id=1,
            eos_token_id=2)
FALCON = dict(vocab_size=N_VOCAB, max_position_embeddings=N_CTX, hidden_size=32, ffn_hidden_size=40,
              num_hidden_layers=2, num_attention_heads=4, bos_token_id=1, eos_token_id=2)
OPT = dict(vocab_size=N_VOCAB, max_position_embeddings=N_CTX, hidden_size=24, ffn_dim=40,
           num_hidden_layers=2, num_attention_heads=4, pad_token_id=0, bos_token_id=2,
           eos_token_id=2)

MODELS = [  # folder, seed, largest file, config
    ("llama-bf16-sharded", 1, "8KB", lambda: tf.LlamaConfig(
        rope_scaling=LLAMA3, head_dim=8, tie_word_embeddings=False, attention_bias=True, **SMALL)),
    ("mistral-f16", 2, None, lambda: tf.MistralConfig(
        sliding_window=8, tie_word_embeddings=True, **SMALL)),
    ("qwen2-f32", 3, None, lambda: tf.Qwen2Config(
        tie_word_embeddings=True, rope_theta=1000000.0, **{**SMALL, "num_hidden_layers": 1})),
    ("gpt2-bf16", 4, None, lambda: tf.GPT2Config(**GPT2)),
    ("qwen3-bf16", 5, None, lambda: tf.Qwen3Config(tie_word_embeddings=True, **HEADS)),
    ("phi3-bf16", 6, None, lambda: tf.Phi3Config(
        rope_scaling=LONGROPE, original_max_position_embeddings=32, sliding_window=20,
        pad_token_id=0, **SMALL)),
    ("phi-bf16", 7, None, lambda: tf.PhiConfig(
        hidden_act="gelu_new", partial_rotary_factor=0.67, **SMALL)),
    ("gemma-bf16", 8, None, lambda: tf.GemmaConfig(
        hidden_activation="gelu_pytorch_tanh", pad_token_id=0, **HEADS)),
    ("gemma2-bf16", 9, None, lambda: tf.Gemma2Config(
        sliding_window=12, attn_logit_softcapping=2.0, final_logit_softcapping=3.0, **GEMMA)),
    ("gemma3-bf16", 10, None, lambda: tf.Gemma3TextConfig(
        sliding_window=12, rope_scaling={"rope_type": "linear", "factor": 4.0},
        layer_types=["sliding_attention", "full_attention"], **GEMMA)),
    ("gptj-f16", 11, None, lambda: tf.GPTJConfig(rotary_dim=4, **GPT2)),
    ("opt-f16", 12, None, lambda: tf.OPTConfig(**OPT)),
    ("opt-350m-f16", 13, None, lambda: tf.OPTConfig(
        do_layer_norm_before=False, word_embed_proj_dim=16, **OPT)),
    ("mixtral-bf16-sharded", 18, "12KB", lambda: tf.MixtralConfig(
        num_local_experts=4, num_experts_per_tok=2, sliding_window=None, **SMALL)),
    ("qwen2moe-bf16", 19, None, lambda: tf.Qwen2MoeConfig(
        num_experts=5, num_experts_per_tok=2, moe_intermediate_size=20, decoder_sparse_step=1,
        shared_expert_intermediate_size=28, norm_topk_prob=False, **SMALL)),
    ("qwen3moe-bf16", 20, None, lambda: tf.Qwen3MoeConfig(
        num_experts=5, num_experts_per_tok=3, moe_intermediate_size=20, decoder_sparse_step=1,
        norm_topk_prob=True, mlp_only_layers=[], **HEADS)),
    ("bert-f16", 21, None, lambda: tf.BertConfig(
        pad_token_id=0, **ALL_HEADS)),
    ("distilbert-bf16", 22, None, lambda: tf.DistilBertConfig(
        vocab_size=N_VOCAB, max_position_embeddings=N_CTX, dim=24, hidden_dim=40, n_layers=2,
        n_heads=4, pad_token_id=0)),
    ("granite-bf16", 14, None, lambda: tf.GraniteConfig(
        attention_multiplier=0.3, embedding_multiplier=2.0, residual_multiplier=0.5,
        logits_scaling=1.5, **SMALL)),
    ("olmo2-bf16", 15, None, lambda: tf.Olmo2Config(pad_token_id=0, **SMALL)),
    ("starcoder2-bf16", 16, None, lambda: tf.Starcoder2Config(**SMALL)),
    ("stablelm-bf16", 17, None, lambda: tf.StableLmConfig(
        use_qkv_bias=True, partial_rotary_factor=0.67, **SMALL)),
    ("llama-yarn-bf16", 23, None, lambda: tf.LlamaConfig(rope_scaling=YARN, head_dim=8, **SMALL)),
    ("olmo3-bf16", 24, None, lambda: tf.Olmo3Config(
        pad_token_id=0, sliding_window=12, rope_scaling=YARN_MSCALE,
        **{**SMALL, "num_hidden_layers": 4})),
    ("smollm3-bf16", 25, None, lambda: tf.SmolLM3Config(
        pad_token_id=0, **{**SMALL, "num_hidden_layers": 4})),
    ("exaone-bf16", 33, None, lambda: tf.LlamaConfig(
        rope_scaling=LLAMA3, tie_word_embeddings=False, **SMALL)),
    ("exaone4-bf16", 34, None, lambda: tf.Exaone4Config(
        sliding_window=12, rope_scaling=LLAMA3, **{**SMALL, "num_hidden_layers": 4})),
    ("exaone4-small-f16", 35, None, lambda: tf.Exaone4Config(
        sliding_window=None, sliding_window_pattern=None, layer_types=["full_attention"] * 2,
        rope_scaling=LLAMA3, **SMALL)),
    ("gptneox-bf16", 26, None, lambda: tf.GPTNeoXConfig(
        rotary_pct=0.67, rotary_emb_base=5000, **ALL_HEADS)),
    ("gptneox-serial-f16", 27, None, lambda: tf.GPTNeoXConfig(
        rotary_pct=1.0, use_parallel_residual=False, **ALL_HEADS)),
    ("falcon-bf16", 28, None, lambda: tf.FalconConfig(**FALCON)),
    ("falcon-heads-f16", 29, None, lambda: tf.FalconConfig(multi_query=False, bias=True, **FALCON)),
    ("falcon40-bf16", 30, None, lambda: tf.FalconConfig(
        new_decoder_architecture=True, num_kv_heads=2, **FALCON)),
    ("falcon11-f16", 31, None, lambda: tf.FalconConfig(
        new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1, **FALCON)),
    ("stablelm12-bf16", 32, None, lambda: tf.StableLmConfig(
        use_parallel_residual=True, qk_layernorm=True, partial_rotary_factor=0.67, **SMALL)),
]
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def randomize(model):
    """Weights large enough for attention and activations to leave their linear range; no norm or
    bias stays at its neutral value."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() >= 2:
                emb = any(s in name for s in ("embed", "wte", "wpe", "lm_head"))
                conv1d = any(s in name for s in ("c_attn", "c_proj", "c_fc"))
                p.normal_(0, 0.5 if emb else 1.0 / p.shape[0 if conv1d else -1] ** 0.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.2)
            else:  # a norm; some families store what is added to one
                p.add_(torch.randn_like(p) * 0.2)


# EXAONE comes with its own code, which computes what Llama's does under other names.
EXAONE = {"model.embed_tokens": "transformer.wte", "model.norm": "transformer.ln_f",
          "model.layers": "transformer.h", "self_attn.o_proj": "attn.attention.out_proj",
          "self_attn": "attn.attention", "input_layernorm": "ln_1",
          "post_attention_layernorm": "ln_2", "gate_proj": "c_fc_0", "up_proj": "c_fc_1",
          "down_proj": "c_proj"}


def rename_to_exaone(folder):
    file = folder / "model.safetensors"
    tensors = {}
    for name, x in load_file(file).items():
        for old, new in EXAONE.items():
            name = name.replace(old, new)
        tensors[name] = x
    save_file(tensors, file, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="exaone", architectures=["ExaoneForCausalLM"],
                  num_layers=config.pop("num_hidden_layers"),
                  activation_function=config.pop("hidden_act"),
                  layer_norm_epsilon=config.pop("rms_norm_eps"))
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_gold(path, tokens, logits):
    """test_golden.c says what is in it."""
    with open(path, "wb") as f:
        f.write(b"SHGOLD1\n" + struct.pack("<4I", len(tokens), len(ROWS), logits.shape[1], 1))
        f.write(np.array(tokens, "<i4").tobytes() + np.array(ROWS, "<i4").tobytes())
        f.write(b"float\0\0\0" + logits.astype("<f4").tobytes())


def make(folder, name, seed, shard, config):
    dtype = DTYPES[name.split("-")[-1 if "shard" not in name else 1]]
    torch.manual_seed(seed)
    encoder = "bert" in name
    auto = tf.AutoModel if encoder else tf.AutoModelForCausalLM
    config = config()
    # StableLM's gives every norm a bias, and those of heads have none
    bare = getattr(config, "qk_layernorm", False)
    kind = tf.StableLmPreTrainedModel
    with unittest.mock.patch.object(kind, "_init_weights") if bare else nullcontext():
        model = auto.from_config(config, attn_implementation="eager").eval()
    randomize(model)
    model.to(dtype).save_pretrained(folder / name, max_shard_size=shard or "1GB")
    # what was saved, computed in float
    model = auto.from_pretrained(folder / name, dtype=torch.float32,
                                 attn_implementation="eager").eval()
    tokens = torch.randint(0, N_VOCAB, (N_TOKENS,)).tolist()
    with torch.no_grad():
        out = model(torch.tensor([tokens]))
        logits = (out.last_hidden_state if encoder else out.logits)[0, ROWS].numpy()
    write_gold(folder / name / "logits.gold", tokens, logits)
    if name.startswith("exaone-"):
        rename_to_exaone(folder / name)
    for file in (folder / name).glob("*.safetensors"):
        file.chmod(0o644)
    print(f"{name:24} logits' rms {np.sqrt((logits ** 2).mean()):.2f}")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    only = sys.argv[2:]
    for row in MODELS:
        if not only or row[0] in only:
            make(Path(sys.argv[1]), *row)


main()
