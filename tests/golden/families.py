# SPDX-License-Identifier: MIT
#
# families.py: what a family's converter does, a class a family: how transformers builds a tiny model,
# which metadata llama.cpp's converter writes, and how it turns tensors. The defaults of Family are
# Llama's; models.py has the list of models and does the rest.
import re
import unittest.mock

import gguf
import numpy as np
import torch
import transformers as tf

N_VOCAB = 97
N_CTX = 320


def halves_to_pairs(w, n_head):
    """Hugging Face's halves that rotate together -> GGUF's neighbours."""
    return np.ascontiguousarray(
        w.reshape(n_head, 2, w.shape[0] // n_head // 2, -1).swapaxes(1, 2).reshape(w.shape))


def pairs_to_halves(w, n_head):
    return np.ascontiguousarray(
        w.reshape(n_head, w.shape[0] // n_head // 2, 2, -1).swapaxes(1, 2).reshape(w.shape))


def transpose(w):
    return np.ascontiguousarray(w.T)


def same(w):
    return w


class Family:
    arch = None  # general.architecture; also the key into gguf's tensor names
    config, model = None, None  # of transformers
    fixed = {}  # config entries that the family always has here
    vocab = "vocab_size"
    context = "max_position_embeddings"
    norm_base = 1  # around which norms' weights lie
    pairs = False  # q and k are turned from halves to pairs
    kin = None  # an architecture whose tensors are called the same, where gguf does not know this one
    names = {}  # tensors that gguf's table does not know
    encoder = False
    floats = ()  # ends of names of matrices that stay floats in every file

    def build(self, **kw):
        kw = {**self.fixed, self.vocab: N_VOCAB, self.context: N_CTX,
              "attn_implementation": "eager", **kw}
        return self.model(self.config(**kw))

    def turn(self, cfg, name):
        """How the rows of tensor @name become GGUF's, and back."""
        n = 0
        if self.pairs and name.endswith("q_proj.weight"):
            n = cfg.num_attention_heads
        if self.pairs and name.endswith("k_proj.weight"):
            n = cfg.num_key_value_heads
        if n:
            return lambda w: halves_to_pairs(w, n), lambda w: pairs_to_halves(w, n)
        return same, same

    def title(self, name):
        return name

    def rows(self, name):
        """Which of a tensor's rows the file has."""
        return slice(None)

    def stack(self, name):
        return None

    def tensor_name(self, name, cfg):
        if name in self.names:
            return self.names[name]
        kind = {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[self.kin or self.arch]
        table = gguf.get_tensor_name_map(kind, cfg.num_hidden_layers)
        return table.get_name(name, try_suffixes=(".weight", ".bias"))

    def vector(self, name, x):
        return x + (1 - self.norm_base) if "norm" in name and name.endswith("weight") else x

    def head_dim(self, cfg):
        return getattr(cfg, "head_dim", None) or cfg.hidden_size // cfg.num_attention_heads

    def put(self, w, cfg):
        w.add_context_length(N_CTX)
        w.add_embedding_length(cfg.hidden_size)
        w.add_block_count(cfg.num_hidden_layers)
        w.add_head_count(cfg.num_attention_heads)
        self.put_rest(w, cfg)

    def put_rest(self, w, cfg):
        w.add_feed_forward_length(cfg.intermediate_size)
        w.add_head_count_kv(cfg.num_key_value_heads)
        w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
        w.add_rope_freq_base(cfg.rope_theta)
        self.put_scaling(w, cfg)

    def put_scaling(self, w, cfg):
        scaling = getattr(cfg, "rope_scaling", None) or {}
        if scaling.get("rope_type") != "yarn":
            return
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(scaling["factor"])
        w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])

    def more_tensors(self, cfg):
        """Tensors that are no parameters of the model: {name: array}."""
        return {}


class Llama(Family):
    arch, config, model = "llama", tf.LlamaConfig, tf.LlamaForCausalLM
    pairs = True

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_vocab_size(N_VOCAB)
        w.add_rope_dimension_count(self.head_dim(cfg))
        w.add_key_length(self.head_dim(cfg))
        w.add_value_length(self.head_dim(cfg))

    def more_tensors(self, cfg):
        """What transformers' Llama-3 scaling divides each frequency by."""
        if (getattr(cfg, "rope_scaling", None) or {}).get("rope_type") != "llama3":
            return {}
        init = tf.modeling_rope_utils.ROPE_INIT_FUNCTIONS
        plain, _ = init["default"](cfg, device="cpu")
        scaled, _ = init["llama3"](cfg, device="cpu")
        return {"rope_freqs.weight": (plain / scaled).numpy().astype(np.float32)}


class Experts:
    """What files of mixtures of experts have: each of an expert's matrices is in a stack of all."""
    floats = (".gate.weight", "shared_expert_gate.weight")  # routers
    PARTS = {"w1": "gate", "w2": "down", "w3": "up"}  # Mixtral's names

    def stack(self, name):
        """(name of the stack, number in it) of an expert's matrix, or None."""
        found = re.fullmatch(r"model\.layers\.(\d+)\.\w+\.experts\.(\d+)\.(\w+)\.weight", name)
        if not found:
            return None
        layer, expert, part = found.groups()
        part = self.PARTS.get(part, part.removesuffix("_proj"))
        return f"blk.{layer}.ffn_{part}_exps.weight", int(expert)


class Mixtral(Experts, Llama):
    config, model = tf.MixtralConfig, tf.MixtralForCausalLM

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_expert_count(cfg.num_local_experts)
        w.add_expert_used_count(cfg.num_experts_per_tok)


class Mistral(Llama):
    config, model = tf.MistralConfig, tf.MistralForCausalLM

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_sliding_window(cfg.sliding_window)  # llama.cpp's converter leaves it out


class SmolLm3(Llama):
    """Every fourth layer does not rotate; its rows are turned all the same."""
    arch, config, model = "smollm3", tf.SmolLM3Config, tf.SmolLM3ForCausalLM
    kin = "llama"
    fixed = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)


class Exaone(Llama):
    """Its model is Llama's, by its own code, which transformers does not have."""
    arch = "exaone"
    pairs = False


class Granite(Llama):
    arch, config, model = "granite", tf.GraniteConfig, tf.GraniteForCausalLM

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_attention_scale(cfg.attention_multiplier)
        w.add_embedding_scale(cfg.embedding_multiplier)
        w.add_residual_scale(cfg.residual_multiplier)
        w.add_logit_scale(cfg.logits_scaling)


class Qwen2(Family):
    arch, config, model = "qwen2", tf.Qwen2Config, tf.Qwen2ForCausalLM
    fixed = dict(use_sliding_window=False, tie_word_embeddings=True)


class Headed(Family):
    """Heads that are not hidden / heads wide are said."""

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_key_length(self.head_dim(cfg))
        w.add_value_length(self.head_dim(cfg))


class Qwen3(Headed):
    arch, config, model = "qwen3", tf.Qwen3Config, tf.Qwen3ForCausalLM


class Qwen2Moe(Experts, Family):
    arch, config, model = "qwen2moe", tf.Qwen2MoeConfig, tf.Qwen2MoeForCausalLM
    fixed = dict(use_sliding_window=False, decoder_sparse_step=1)

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_expert_count(cfg.num_experts)
        w.add_expert_used_count(cfg.num_experts_per_tok)
        w.add_expert_feed_forward_length(cfg.moe_intermediate_size)
        w.add_expert_shared_feed_forward_length(cfg.shared_expert_intermediate_size)


class Qwen3Moe(Experts, Headed):
    arch, config, model = "qwen3moe", tf.Qwen3MoeConfig, tf.Qwen3MoeForCausalLM
    fixed = dict(decoder_sparse_step=1, norm_topk_prob=True)

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_expert_count(cfg.num_experts)
        w.add_expert_used_count(cfg.num_experts_per_tok)
        w.add_expert_feed_forward_length(cfg.moe_intermediate_size)


class Olmo2(Family):
    arch, config, model = "olmo2", tf.Olmo2Config, tf.Olmo2ForCausalLM


class Olmo3(Olmo2):
    config, model = tf.Olmo3Config, tf.Olmo3ForCausalLM

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_sliding_window(cfg.sliding_window)
        w.add_array(f"{self.arch}.attention.sliding_window_pattern",
                    [t == "sliding_attention" for t in cfg.layer_types])


class Exaone4(Olmo3):
    """Layers without a window do not rotate. llama.cpp has windows in the model of 64 layers alone."""
    arch, config, model = "exaone4", tf.Exaone4Config, tf.Exaone4ForCausalLM
    kin = "olmo2"


class Gemma(Headed):
    arch, config, model = "gemma", tf.GemmaConfig, tf.GemmaForCausalLM
    fixed = dict(hidden_activation="gelu_pytorch_tanh")
    norm_base = 0  # transformers adds the 1, llama.cpp's converter has it in the weight


class Gemma2(Gemma):
    arch, config, model = "gemma2", tf.Gemma2Config, tf.Gemma2ForCausalLM

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_sliding_window(cfg.sliding_window)
        w.add_attn_logit_softcapping(cfg.attn_logit_softcapping)
        w.add_final_logit_softcapping(cfg.final_logit_softcapping)


class Gemma3(Gemma):
    arch, config, model = "gemma3", tf.Gemma3TextConfig, tf.Gemma3ForCausalLM

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_sliding_window(cfg.sliding_window)
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(cfg.rope_scaling["factor"])


class Phi3(Family):
    arch, config, model = "phi3", tf.Phi3Config, tf.Phi3ForCausalLM
    fixed = dict(pad_token_id=0)

    def title(self, name):
        """llama.cpp looks for Phi-3's control tokens where a model is called so."""
        return "longrope"

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_rope_dimension_count(int(self.head_dim(cfg) * cfg.partial_rotary_factor))
        w.add_rope_scaling_orig_ctx_len(cfg.original_max_position_embeddings)
        if cfg.sliding_window:
            w.add_sliding_window(cfg.sliding_window)
        if cfg.rope_scaling:
            ratio = N_CTX / cfg.original_max_position_embeddings
            w.add_rope_scaling_attn_factors(
                (1 + np.log(ratio) / np.log(cfg.original_max_position_embeddings)) ** 0.5)

    def more_tensors(self, cfg):
        return {f"rope_factors_{k}.weight": np.array(cfg.rope_scaling[f"{k}_factor"], np.float32)
                for k in ("long", "short") if cfg.rope_scaling}


class LayerNormed(Family):
    """Layer norms, and rotation of a part of each head."""

    def put_rest(self, w, cfg):
        w.add_feed_forward_length(cfg.intermediate_size)
        w.add_layer_norm_eps(self.eps(cfg))
        w.add_rope_dimension_count(self.rotated(cfg))

    def eps(self, cfg):
        return cfg.layer_norm_eps

    def rotated(self, cfg):
        return int(self.head_dim(cfg) * cfg.partial_rotary_factor)


class Phi2(LayerNormed):
    arch, config, model = "phi2", tf.PhiConfig, tf.PhiForCausalLM
    fixed = dict(hidden_act="gelu_new", resid_pdrop=0.0, embd_pdrop=0.0)


class StableLm(LayerNormed):
    arch, config, model = "stablelm", tf.StableLmConfig, tf.StableLmForCausalLM

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_head_count_kv(cfg.num_key_value_heads)
        w.add_parallel_residual(True)  # what the converter says unless config.json denies it


class StableLm12(StableLm):
    """StableLM 2 12B: side by side, and each head of q and k has a norm of its own."""
    fixed = dict(use_parallel_residual=True, qk_layernorm=True)

    def build(self, **kw):
        # it gives every norm a bias, and those of heads have none
        with unittest.mock.patch.object(tf.StableLmPreTrainedModel, "_init_weights"):
            return super().build(**kw)

    def stack(self, name):
        found = re.fullmatch(r"model\.layers\.(\d+)\.self_attn\.(q|k)_layernorm\.norms\.(\d+)\.weight",
                             name)
        return found and (f"blk.{found[1]}.attn_{found[2]}_norm.weight", int(found[3]))


class Starcoder2(LayerNormed):
    arch, config, model = "starcoder2", tf.Starcoder2Config, tf.Starcoder2ForCausalLM
    fixed = dict(hidden_act="gelu_pytorch_tanh", use_bias=True, residual_dropout=0.0,
                 embedding_dropout=0.0, sliding_window=None)

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_head_count_kv(cfg.num_key_value_heads)
        w.add_rope_freq_base(cfg.rope_theta)

    def eps(self, cfg):
        return cfg.norm_epsilon

    def rotated(self, cfg):
        return self.head_dim(cfg)


class Falcon(LayerNormed):
    arch, config, model = "falcon", tf.FalconConfig, tf.FalconForCausalLM
    fixed = dict(new_decoder_architecture=False, multi_query=True, parallel_attn=True, bias=False,
                 alibi=False)

    def put_rest(self, w, cfg):
        w.add_feed_forward_length(cfg.ffn_hidden_size)
        w.add_head_count_kv(self.kv_heads(cfg))
        w.add_layer_norm_eps(cfg.layer_norm_epsilon)

    def kv_heads(self, cfg):
        return 1


class Falcon40(Falcon):
    """The larger ones: heads in groups that share a key and a value, two norms side by side."""
    fixed = dict(new_decoder_architecture=True, parallel_attn=True, bias=False, alibi=False)

    def kv_heads(self, cfg):
        return cfg.num_kv_heads

    def turn(self, cfg, name):
        """Each group has its q, one k and one v: they become all q, all k, all v."""
        n, d = cfg.num_kv_heads, cfg.hidden_size // cfg.num_attention_heads
        q = cfg.num_attention_heads // n

        def split(w):
            g = w.reshape(n, q + 2, d, -1)
            parts = g[:, :q], g[:, q], g[:, q + 1]
            return np.concatenate([p.reshape(-1, w.shape[1]) for p in parts])

        def join(w):
            parts = np.split(w, [n * q * d, n * q * d + n * d])
            shapes = (n, q, d, -1), (n, 1, d, -1), (n, 1, d, -1)
            return np.concatenate([p.reshape(s) for p, s in zip(parts, shapes)],
                                  axis=1).reshape(w.shape)
        return (split, join) if "query_key_value" in name else (same, same)


class GptNeoX(LayerNormed):
    arch, config, model = "gptneox", tf.GPTNeoXConfig, tf.GPTNeoXForCausalLM
    fixed = dict(hidden_act="gelu", attention_dropout=0.0, hidden_dropout=0.0)

    def put_rest(self, w, cfg):
        super().put_rest(w, cfg)
        w.add_parallel_residual(cfg.use_parallel_residual)

    def rotated(self, cfg):
        return int(self.head_dim(cfg) * cfg.rotary_pct)

    def turn(self, cfg, name):
        """Each head has its q, k and v: they become all q, all k, all v."""
        n = cfg.num_attention_heads

        def split(w):
            return np.ascontiguousarray(
                w.reshape(n, 3, -1).swapaxes(0, 1).reshape(w.shape))

        def join(w):
            return np.ascontiguousarray(
                w.reshape(3, n, -1).swapaxes(0, 1).reshape(w.shape))
        return (split, join) if "query_key_value" in name else (same, same)


class GptJ(Family):
    arch, config, model = "gptj", tf.GPTJConfig, tf.GPTJForCausalLM
    fixed = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    context = "n_positions"
    names = {"lm_head.bias": "output.bias"}

    def put_rest(self, w, cfg):
        w.add_feed_forward_length(cfg.n_inner)
        w.add_layer_norm_eps(cfg.layer_norm_epsilon)
        w.add_rope_dimension_count(cfg.rotary_dim)


class Gpt2(Family):
    arch, config, model = "gpt2", tf.GPT2Config, tf.GPT2LMHeadModel
    fixed = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    context = "n_positions"

    def turn(self, cfg, name):
        """Its matrices are kept by columns."""
        kept_so = name.endswith(".weight") and (".attn." in name or ".mlp." in name)
        return (transpose, transpose) if kept_so else (same, same)

    def put_rest(self, w, cfg):  # the converter writes no vocab_size, and no KV heads
        w.add_feed_forward_length(cfg.n_inner)
        w.add_layer_norm_eps(cfg.layer_norm_epsilon)


class Opt(Family):
    """llama.cpp has none: sherd's own names and keys, in llama.cpp's manner."""
    arch, config, model = "opt", tf.OPTConfig, tf.OPTForCausalLM
    fixed = dict(dropout=0.0, layerdrop=0.0, attention_dropout=0.0, pad_token_id=0)
    PARTS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_output",
             "fc1": "ffn_up", "fc2": "ffn_down"}
    NORMS = {"self_attn_layer_norm": ("attn_norm", "attn_output_norm"),
             "final_layer_norm": ("ffn_norm", "layer_output_norm")}
    GLOBALS = {"embed_tokens": "token_embd", "embed_positions": "position_embd",
               "project_in": "project_in", "project_out": "project_out",
               "final_layer_norm": "output_norm"}

    def tensor_name(self, name, cfg):
        name, kind = name.removeprefix("model.decoder.").rsplit(".", 1)
        if not name.startswith("layers."):
            return f"{self.GLOBALS[name]}.{kind}"
        _, layer, part = name.split(".", 2)
        if part in self.NORMS:
            return f"blk.{layer}.{self.NORMS[part][not cfg.do_layer_norm_before]}.{kind}"
        return f"blk.{layer}.{self.PARTS[part]}.{kind}"

    def rows(self, name):
        """Two rows of the position table belong to no position."""
        return slice(2, None) if "embed_positions" in name else slice(None)

    def put_rest(self, w, cfg):
        w.add_feed_forward_length(cfg.ffn_dim)
        w.add_layer_norm_eps(1e-5)  # torch's default
        w.add_bool("opt.norm_after", not cfg.do_layer_norm_before)
        w.add_uint32("opt.embedding_length_in", cfg.word_embed_proj_dim)


class Bert(Family):
    """Encoders: what is compared are the last layer's rows."""
    arch, config, model = "bert", tf.BertConfig, tf.BertModel
    fixed = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    floats = ("token_type_embeddings.weight",)
    encoder = True

    def build(self, **kw):
        model = super().build(**kw)
        model.pooler = None  # no file has it
        return model

    def put_rest(self, w, cfg):
        w.add_feed_forward_length(cfg.intermediate_size)
        w.add_layer_norm_eps(cfg.layer_norm_eps)
        w.add_causal_attention(False)
        w.add_pooling_type(gguf.PoolingType.MEAN)
        w.add_token_type_count(cfg.type_vocab_size)


class DistilBert(Bert):
    config, model = tf.DistilBertConfig, tf.DistilBertModel
    fixed = dict(dropout=0.0, attention_dropout=0.0)

    def put(self, w, cfg):
        w.add_context_length(N_CTX)
        w.add_embedding_length(cfg.dim)
        w.add_block_count(cfg.n_layers)
        w.add_head_count(cfg.n_heads)
        w.add_feed_forward_length(cfg.hidden_dim)
        w.add_layer_norm_eps(1e-12)
        w.add_causal_attention(False)
        w.add_pooling_type(gguf.PoolingType.CLS)
        w.add_token_type_count(1)
