/* SPDX-License-Identifier: MIT */
/*
 * test_arch: a model's numbers. A small sound model is written, one thing in it is changed, and the
 * sentence is looked at; what is changed is a line of text in the tables below.
 */
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "gguf_build.h"
#include "model/arch.h"

/*
 * "name=5", "name=0.5f", "name=text", "name=[4,4,4]"; "name" alone: taken out; "@name=5": the key
 * without @arch before it.
 */
static void put_change(struct build *b, const char *arch, const char *change)
{
	bool whole = *change == '@';
	const char *eq = strchr(change, '='), *v = eq + 1;
	uint32_t numbers[16];
	char key[128], *end;
	uint64_t n = 0;
	long x;

	snprintf(key, sizeof(key), "%s%s%.*s", whole ? "" : arch, whole ? "" : ".",
		 (int)(eq - change) - whole, change + whole);
	if (*v == '[') {
		for (v++; *v && *v != ']'; v = *end == ',' ? end + 1 : end)
			numbers[n++] = (uint32_t)strtol(v, &end, 10);
		build_array(b, key, GGUF_U32, n);
		build_bytes(b, numbers, n * sizeof(*numbers));
		return;
	}
	x = strtol(v, &end, 10);
	if (end != v && !*end) {
		build_value_u32(b, key, (uint32_t)x);
	} else if (*v && v[strlen(v) - 1] == 'f' && strspn(v, "0123456789.e+-nainf") == strlen(v)) {
		build_value_f32(b, key, strtof(v, NULL));
	} else if (!strcmp(v, "true") || !strcmp(v, "false")) {
		build_key(b, key, GGUF_BOOL);
		build_bytes(b, *v == 't' ? "\1" : "", 1);
	} else {
		build_value_str(b, key, v);
	}
}

static bool same_key(const char *a, const char *b)
{
	size_t n = strcspn(a, "="), m = strcspn(b, "=");

	return n == m && !memcmp(a, b, n);
}

/* A model of @arch with @changes; @rows of the embedding (0: no such tensor). */
static struct build model(const char *arch, const char *const *changes, uint64_t rows)
{
	static const char *const sound[] = {
		"block_count=3",
		"context_length=128",
		"embedding_length=64",
		"feed_forward_length=96",
		"attention.head_count=4",
		"attention.head_count_kv=2",
		"attention.layer_norm_rms_epsilon=0.00001f",
		"attention.layer_norm_epsilon=0.001f",
		"vocab_size=50",
	};
	uint64_t dims[] = { 64, rows };
	struct build b = build_begin(3, rows != 0, 0);
	uint64_t n = 1;
	size_t i, j;

	build_value_str(&b, "general.architecture", arch);
	for (i = 0; i < ARRAY_SIZE(sound); i++) {
		for (j = 0; changes && changes[j]; j++)
			if (same_key(sound[i], changes[j]))
				break;
		if (changes && changes[j])
			continue;
		put_change(&b, arch, sound[i]);
		n++;
	}
	for (j = 0; changes && changes[j]; j++)
		if (strchr(changes[j], '=')) {
			put_change(&b, arch, changes[j]);
			n++;
		}
	memcpy(b.data + 16, &n, sizeof(n));
	if (rows) {
		build_tensor(&b, "token_embd.weight", 2, dims, GGML_F32, 0);
		build_align(&b, 32);
		build_zeros(&b, 64 * 4 * rows);
	}
	return b;
}

static int read_model(struct build b, struct sherd_hparams *hp, struct sherd_error *err)
{
	struct gguf *g;
	void *copy;
	int ret;

	memset(hp, 0xa5, sizeof(*hp));
	if (build_open_bytes(b.data, b.size, &g, &copy, err))
		fail_msg("%s", err->msg);
	ret = sherd_hparams_read(hp, g, err);
	gguf_close(g);
	free(copy);
	free(b.data);
	return ret;
}

static struct sherd_hparams sound_model(const char *arch, const char *const *changes)
{
	struct sherd_hparams hp;
	struct sherd_error err;

	if (read_model(model(arch, changes, 50), &hp, &err))
		fail_msg("should be read: %s", err.msg);
	return hp;
}

static void a_sound_llama_gives_its_numbers(void **state)
{
	struct sherd_hparams hp = sound_model("llama", NULL);

	(void)state;
	assert_string_equal(hp.arch->name, "llama");
	assert_true(hp.n_layers == 3 && hp.n_ctx_train == 128 && hp.hidden == 64 && hp.ffn == 96);
	assert_true(hp.n_heads == 4 && hp.n_kv_heads == 2 && hp.head_dim == 16);
	assert_true(hp.n_vocab == 50 && hp.norm_eps == 0.00001f);
	assert_true(hp.rope_theta == 10000 && hp.rope_dim == 16);
	assert_true(hp.rope_scaling == SHERD_ROPE_PLAIN && hp.rope_factor == 1);
}

static void what_the_file_says_overrides_what_follows_from_the_rest(void **state)
{
	static const char *const changes[] = {
		"attention.key_length=32",	   "attention.value_length=32",
		"rope.dimension_count=8",	   "rope.freq_base=500000.0f",
		"rope.scaling.type=linear",	   "rope.scaling.factor=4.0f",
		"attention.head_count_kv=[4,4,4]", NULL
	};
	struct sherd_hparams hp = sound_model("qwen2", changes);

	(void)state;
	assert_true(hp.head_dim == 32 && hp.rope_dim == 8 && hp.rope_theta == 500000);
	assert_true(hp.rope_scaling == SHERD_ROPE_LINEAR && hp.rope_factor == 4);
	assert_true(hp.n_kv_heads == 4);
	assert_true(hp.arch->position == SHERD_POS_ROPE_HALVES && hp.arch->qkv_bias);
}

static void key_value_heads_are_as_many_as_heads_if_nothing_is_said(void **state)
{
	static const char *const changes[] = { "attention.head_count_kv", NULL };

	(void)state;
	assert_int_equal(sound_model("llama", changes).n_kv_heads, 4);
}

static void learned_positions_have_no_rope(void **state)
{
	static const char *const changes[] = { "attention.layer_norm_rms_epsilon", NULL };
	struct sherd_hparams hp = sound_model("gpt2", changes);

	(void)state;
	assert_true(hp.rope_dim == 0 && hp.norm_eps == 0.001f);
	assert_true(hp.arch->norm == SHERD_NORM_LAYER && hp.arch->position == SHERD_POS_LEARNED);
	assert_true(hp.arch->qkv_fused && !hp.arch->gated && hp.arch->norm_bias);
}

static void windows_are_where_the_family_or_the_file_has_them(void **state)
{
	static const struct {
		const char *arch, *changes[3];
		int windows[3]; /* of three layers */
	} cases[] = {
		{ "llama", { NULL }, { 0, 0, 0 } },
		{ "llama", { "attention.sliding_window=0" }, { 0, 0, 0 } },
		{ "llama", { "attention.sliding_window=100" }, { 100, 100, 100 } },
		{ "qwen2", { "attention.sliding_window=[100,100,100]" }, { 100, 100, 100 } },
		{ "phi3", { "attention.sliding_window=7" }, { 7, 7, 7 } },
		{ "gemma2", { NULL }, { 4096, 0, 4096 } },
		{ "gemma2", { "attention.sliding_window=9" }, { 9, 0, 9 } },
		{ "gemma3", { "attention.sliding_window=9" }, { 9, 9, 9 } },
		{ "gemma3", { "attention.sliding_window=9", "attention.sliding_window_pattern=3" },
		  { 9, 9, 0 } },
		{ "qwen2",
		  { "attention.sliding_window=9", "attention.sliding_window_pattern=[0,1,0]" },
		  { 0, 9, 0 } },
		{ "gemma3", { NULL }, { 0, 0, 0 } },
	};
	struct sherd_hparams hp;
	size_t i;
	int l;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		hp = sound_model(cases[i].arch, cases[i].changes);
		for (l = 0; l < 3; l++)
			if (sherd_hparams_window(&hp, l) != cases[i].windows[l])
				fail_msg("case %zu, layer %d: a window of %d", i, l,
					 sherd_hparams_window(&hp, l));
	}
}

static void any_context_can_be_had(void **state)
{
	static const char *const window[] = { "attention.sliding_window=20", NULL };
	static const char *const large[] = { "context_length=9000", NULL };
	struct sherd_hparams hp;

	(void)state;
	hp = sound_model("llama", window);
	assert_true(sherd_hparams_ctx(&hp, 100000) == 100000 && sherd_hparams_ctx(&hp, 0) == 128);
	hp = sound_model("gpt2", large);
	assert_int_equal(sherd_hparams_ctx(&hp, 0), 4096);
}

static void scales_and_caps_are_the_familys_or_the_files(void **state)
{
	static const char *const granite[] = { "attention.scale=0.5f", "embedding_scale=12.0f",
					       "residual_scale=0.25f", "logit_scale=8.0f", NULL };
	static const char *const gemma[] = { "attn_logit_softcapping=50.0f",
					     "final_logit_softcapping=30.0f", NULL };
	static const char *const wide[] = { "block_count=46", "attention.key_length=8",
					    "attention.value_length=8", NULL };
	struct sherd_hparams hp;

	(void)state;
	hp = sound_model("llama", NULL);
	assert_true(hp.embd_scale == 1 && hp.residual_scale == 1 && hp.logit_scale == 1);
	assert_true(hp.score_cap == 0 && hp.logit_cap == 0 && hp.q_scale == 0.25f);
	hp = sound_model("llama", granite);
	assert_true(hp.embd_scale == 12 && hp.residual_scale == 0.25f);
	assert_true(hp.logit_scale == 0.125f && hp.q_scale == 0.5f);
	hp = sound_model("gemma2", gemma);
	assert_true(hp.embd_scale == 8 && hp.score_cap == 50 && hp.logit_cap == 30);
	/* Gemma 2's largest scales by the width of its stream, a head's share of it */
	hp = sound_model("gemma2", wide);
	assert_true(hp.head_dim == 8 && hp.q_scale == 0.25f);
}

static void norms_and_projections_are_the_familys_or_the_files(void **state)
{
	static const char *const small_opt[] = { "norm_after=true", "embedding_length_in=32",
						 NULL };
	static const char *const serial[] = { "use_parallel_residual=false", NULL };
	struct sherd_hparams hp;

	(void)state;
	hp = sound_model("opt", NULL);
	assert_true(hp.norm_at == SHERD_NORM_IN && hp.embd == 64 && !hp.parallel);
	hp = sound_model("opt", small_opt);
	assert_true(hp.norm_at == SHERD_NORM_SUM && hp.embd == 32);
	assert_int_equal(sherd_final_norm(&hp), SHERD_NORM_NONE);
	hp = sound_model("gemma2", NULL);
	assert_true(hp.norm_at == (SHERD_NORM_IN | SHERD_NORM_OUT));
	assert_int_equal(sherd_final_norm(&hp), SHERD_NORM_RMS);
	assert_true(sound_model("gptneox", NULL).parallel);
	assert_false(sound_model("gptneox", serial).parallel);
}

static void scalings_that_change_nothing_are_plain(void **state)
{
	static const char *const plain[][3] = {
		{ "rope.scaling.type=none", "rope.scaling.factor=8.0f", NULL },
		{ "rope.scaling.type=linear", "rope.scaling.factor=1.0f", NULL },
		{ "rope.scaling.factor=0.0f", NULL },
		{ "expert_count=0", "logit_scale=1.0f", NULL },
		{ "rope.scaling.attn_factor=1.0f", "attention.causal=true", NULL },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(plain); i++)
		assert_int_equal(sound_model("llama", plain[i]).rope_scaling, SHERD_ROPE_PLAIN);
}

static void a_factor_alone_means_linear_scaling(void **state)
{
	static const char *const changes[] = { "rope.scaling.factor=2.0f", NULL };
	static const char *const old[] = { "rope.scale_linear=2.0f", NULL };

	(void)state;
	assert_true(sound_model("llama", changes).rope_factor == 2);
	assert_true(sound_model("llama", old).rope_factor == 2);
}

/* The growth by the paper: 0.1 ln(factor) + 1; the rest as converters write it. */
static void yarn_says_what_turns_slowly_and_how_much_scores_grow(void **state)
{
#define YARN "rope.scaling.type=yarn", "rope.scaling.factor=4.0f"
	static const struct {
		const char *changes[5];
		int ctx;
		double grows;
	} cases[] = {
		{ { YARN }, 128, 1.1386294361 },
		{ { YARN, "rope.scaling.original_context_length=32" }, 32, 1.1386294361 },
		{ { YARN, "rope.scaling.yarn_attn_factor=1.25f" }, 128, 1.25 },
		{ { YARN, "rope.scaling.attn_factor=0.5f" }, 128, 0.5693147181 },
		{ { YARN, "rope.scaling.yarn_log_multiplier=1.0f" }, 128, 1 },
		{ { YARN, "rope.scaling.yarn_log_multiplier=0.5f" }, 128, 1.0648219206 },
	};
	static const char *const betas[] = { YARN, "rope.scaling.yarn_beta_slow=2.0f",
					     "rope.scaling.yarn_beta_fast=1.5f", NULL };
	static const char *const flat[] = { YARN, "rope.freq_base=1.0f", NULL };
	struct sherd_hparams hp;
	struct sherd_error err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		hp = sound_model("qwen2", cases[i].changes);
		assert_true(hp.rope_scaling == SHERD_ROPE_YARN && hp.rope_factor == 4);
		assert_true(hp.rope_fast == 32 && hp.rope_slow == 1 && hp.rope_whole);
		assert_int_equal(hp.rope_ctx, cases[i].ctx);
		if (fabs(hp.rope_attn_factor - cases[i].grows) > 1e-6)
			fail_msg("case %zu: %g", i, (double)hp.rope_attn_factor);
	}
	assert_int_equal(read_model(model("qwen2", betas, 50), &hp, &err), -ERANGE);
	assert_non_null(strstr(err.msg, "yarn_beta_fast is 1.5"));
	assert_int_equal(read_model(model("qwen2", flat, 50), &hp, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "YaRN"));
}

static void what_cannot_be_is_refused_by_its_name(void **state)
{
	static const struct {
		const char *change;
		const char *words;
	} bad[] = {
		{ "block_count", "lacks llama.block_count" },
		{ "block_count=0", "llama.block_count is 0" },
		{ "block_count=-1", "llama.block_count" },
		{ "block_count=100000", "llama.block_count is 100000" },
		{ "block_count=three", "kind string" },
		{ "context_length", "lacks llama.context_length" },
		{ "embedding_length", "lacks" },
		{ "embedding_length=0", "is 0" },
		{ "embedding_length=62", "62 is no multiple of its 4 heads" },
		{ "embedding_length=60", "heads of 15" },
		{ "embedding_length=2000000000", "llama.embedding_length" },
		{ "feed_forward_length", "lacks" },
		{ "feed_forward_length=[96,96,64]", "differs from layer to layer (96 and 64)" },
		{ "feed_forward_length=[]", "is 0 in each layer" },
		{ "attention.head_count", "lacks" },
		{ "attention.head_count=0", "is 0" },
		{ "attention.head_count_kv=3", "4 attention heads cannot share 3" },
		{ "attention.head_count_kv=8", "cannot share 8" },
		{ "attention.head_count_kv=[2,0,2]", "differs" },
		{ "attention.head_count_kv=[0,0,0]", "is 0 in each layer" },
		{ "attention.key_length=15", "heads of 15" },
		{ "attention.key_length=4096", "attention.key_length is 4096" },
		{ "attention.value_length=8", "values of 8" },
		{ "attention.layer_norm_rms_epsilon", "lacks" },
		{ "attention.layer_norm_rms_epsilon=nanf", "is nan" },
		{ "attention.layer_norm_rms_epsilon=0.0f", "is 0" },
		{ "attention.layer_norm_rms_epsilon=-1e-5f", "is -1e-05" },
		{ "attention.layer_norm_rms_epsilon=inff", "is inf" },
		{ "attention.sliding_window=-1", "attention.sliding_window" },
		{ "attention.sliding_window=wide", "kind string" },
		{ "attention.sliding_window=[64,0,64]", "differs from layer to layer (64 and 0)" },
		{ "rope.freq_base=nanf", "rope.freq_base is nan" },
		{ "rope.freq_base=0.0f", "rope.freq_base is 0" },
		{ "rope.freq_base=inff", "rope.freq_base is inf" },
		{ "rope.dimension_count=7", "odd" },
		{ "rope.dimension_count=18", "is 18" },
		{ "rope.scaling.type=yarn", "lacks llama.rope.scaling.factor" },
		{ "rope.scaling.type=dynamic", "\"dynamic\"" },
		{ "rope.scaling.type=llama3", "\"llama3\"" }, /* without its tensor */
		{ "rope.scaling.factor=nanf", "nan" },
		{ "rope.scaling.factor=-2.0f", "-2" },
		{ "rope.scaling.attn_factor=nanf", "attn_factor is nan" },
		{ "rope.scaling.type=longrope",
		  "lacks llama.rope.scaling.original_context_length" },
		{ "expert_count=8", "lacks llama.expert_used_count" },
		{ "expert_count=513", "expert_count" },
		{ "expert_count=-1", "expert_count" },
		{ "expert_weights_scale=2.5f", "scaling what experts count" },
		{ "expert_gating_func=2", "another function than softmax" },
		{ "leading_dense_block_count=1", "layers without experts" },
		{ "attention.clamp_kqv=8.0f", "clamping" },
		{ "final_logit_softcapping=nanf", "softcapping is nan" },
		{ "attn_logit_softcapping=-1.0f", "softcapping is -1" },
		{ "attention.scale=inff", "attention.scale is inf" },
		{ "attention.scale=1.5f", "not within 0 to 1" },
		{ "attn_logit_softcapping=1e-30f", "next to nothing" },
		{ "logit_scale=-1.0f", "logit_scale is -1" },
		{ "embedding_scale=nanf", "embedding_scale is nan" },
		{ "norm_after=1", "norm_after" },
		{ "embedding_length_in=0", "embedding_length_in is 0" },
		{ "attention.causal=false", "later tokens" },
		{ "vocab_size=49", "token_embd.weight has 50 rows, but the vocabulary has 49" },
		{ "vocab_size=0", "vocab_size is 0" },
	};
	struct sherd_hparams hp;
	struct sherd_error err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *const changes[] = { bad[i].change, NULL };
		int ret = read_model(model("llama", changes, 50), &hp, &err);

		if (!ret)
			fail_msg("%s was accepted", bad[i].change);
		if (!strstr(err.msg, bad[i].words) || strncmp(err.msg, "test.gguf: ", 11))
			fail_msg("%s: \"%s\" should contain \"%s\"", bad[i].change, err.msg,
				 bad[i].words);
	}
}

static void unknown_families_are_refused_with_the_known_ones(void **state)
{
	static const char *const names[] = { "mamba", "Llama", "llam", "", "llama2" };
	struct sherd_hparams hp;
	struct sherd_error err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(read_model(model(names[i], NULL, 50), &hp, &err), -ENOTSUP);
		assert_non_null(strstr(err.msg, "llama, qwen2, "));
	}
	assert_int_equal(read_model(build_begin(3, 0, 0), &hp, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "does not say which architecture"));
}

static void families_that_lack_a_step_are_rows_that_say_which(void **state)
{
	static const char *const names[] = { "bloom" };
	const struct sherd_arch *a;
	struct sherd_hparams hp;
	struct sherd_error err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		a = sherd_arch_find(names[i], strlen(names[i]));
		assert_true(a && a->not_yet);
		assert_int_equal(read_model(model(names[i], NULL, 50), &hp, &err), -ENOTSUP);
		assert_non_null(strstr(err.msg, a->not_yet));
		assert_null(strstr(sherd_arch_names(), names[i]));
	}
	assert_null(sherd_arch_find("llama", 3));
	assert_ptr_equal(strstr(sherd_arch_names(), "llama, qwen2, qwen3, gpt2, opt, "),
			 sherd_arch_names());
}

/* tokens beat vocab_size beat the embedding's rows, and must agree with the last. */
static void the_vocabulary_is_counted_where_it_is(void **state)
{
	static const char *const none[] = { "vocab_size", NULL };
	static const char *const other[] = { "vocab_size=77", "@tokenizer.ggml.tokens=[1,2,3]",
					     NULL };
	struct sherd_hparams hp;
	struct sherd_error err;

	(void)state;
	assert_int_equal(read_model(model("llama", none, 23), &hp, &err), 0);
	assert_int_equal(hp.n_vocab, 23);
	assert_int_equal(read_model(model("llama", NULL, 0), &hp, &err), 0);
	assert_int_equal(hp.n_vocab, 50);
	assert_int_equal(read_model(model("llama", other, 3), &hp, &err), 0);
	assert_int_equal(hp.n_vocab, 3);
	assert_int_equal(read_model(model("llama", other, 77), &hp, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "77 rows, but the vocabulary has 3"));
	assert_int_equal(read_model(model("llama", none, 0), &hp, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "vocabulary"));
}

static void a_packed_shard_is_read_by_its_sources_keys(void **state)
{
	static const char *const shard[] = { "@sherd.source.architecture=llama", NULL };
	struct sherd_hparams hp;
	struct sherd_error err;
	struct build b = model("llama", shard, 0);
	uint8_t *name = memmem(b.data, b.size, "llama", 5);

	(void)state;
	/* "llama" is as long as "sherd" */
	memcpy(name, "sherd", 5);
	assert_int_equal(read_model(b, &hp, &err), 0);
	assert_string_equal(hp.arch->name, "llama");
	assert_int_equal(hp.n_layers, 3);
	b = model("sherd", NULL, 0);
	assert_int_equal(read_model(b, &hp, &err), -EINVAL);
}

static void every_slot_has_a_name_of_its_own(void **state)
{
	char names[SHERD_N_SLOTS][64];
	int i, j;

	(void)state;
	for (i = 0; i < SHERD_N_SLOTS; i++) {
		memset(names[i], 0x55, sizeof(names[i]));
		sherd_slot_name((enum sherd_slot)i, 12, names[i], sizeof(names[i]));
		assert_int_equal(!strncmp(names[i], "blk.12.", 7), i >= SHERD_FIRST_LAYER_SLOT);
		assert_true(strstr(names[i], ".weight") || strstr(names[i], ".bias"));
		/* biases and norms are vectors, RoPE's divisors and the one token type; nothing else */
		assert_int_equal(sherd_slot_is_vector((enum sherd_slot)i),
				 strstr(names[i], "norm") || strstr(names[i], ".bias") ||
					 strstr(names[i], "rope_f") ||
					 strstr(names[i], "token_types"));
		for (j = 0; j < i; j++)
			assert_string_not_equal(names[i], names[j]);
	}
	assert_string_equal(names[SHERD_ATTN_QKV], "blk.12.attn_qkv.weight");
	assert_string_equal(names[SHERD_TOKEN_EMBD], "token_embd.weight");
}

static void the_shared_models_are_read(void **state)
{
	const char *shared = getenv("SHERD_SHARED") ? getenv("SHERD_SHARED") : "../shared";
	struct sherd_hparams hp;
	struct sherd_error err;
	struct gguf *g;
	char path[512];

	(void)state;
	if (access(shared, F_OK)) {
		print_message("skipped: no folder %s (SHERD_SHARED names another)\n", shared);
		skip();
	}
	snprintf(path, sizeof(path), "%s/data/models/stories260K-f32.gguf", shared);
	if (gguf_open(&g, path, &err) || sherd_hparams_read(&hp, g, &err))
		fail_msg("%s", err.msg);
	assert_true(hp.n_layers == 5 && hp.hidden == 64 && hp.ffn == 172 && hp.n_vocab == 512);
	assert_true(hp.n_heads == 8 && hp.n_kv_heads == 4 && hp.head_dim == 8);
	gguf_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_llama_gives_its_numbers),
		cmocka_unit_test(what_the_file_says_overrides_what_follows_from_the_rest),
		cmocka_unit_test(key_value_heads_are_as_many_as_heads_if_nothing_is_said),
		cmocka_unit_test(learned_positions_have_no_rope),
		cmocka_unit_test(windows_are_where_the_family_or_the_file_has_them),
		cmocka_unit_test(any_context_can_be_had),
		cmocka_unit_test(scales_and_caps_are_the_familys_or_the_files),
		cmocka_unit_test(norms_and_projections_are_the_familys_or_the_files),
		cmocka_unit_test(scalings_that_change_nothing_are_plain),
		cmocka_unit_test(a_factor_alone_means_linear_scaling),
		cmocka_unit_test(yarn_says_what_turns_slowly_and_how_much_scores_grow),
		cmocka_unit_test(what_cannot_be_is_refused_by_its_name),
		cmocka_unit_test(unknown_families_are_refused_with_the_known_ones),
		cmocka_unit_test(families_that_lack_a_step_are_rows_that_say_which),
		cmocka_unit_test(the_vocabulary_is_counted_where_it_is),
		cmocka_unit_test(a_packed_shard_is_read_by_its_sources_keys),
		cmocka_unit_test(every_slot_has_a_name_of_its_own),
		cmocka_unit_test(the_shared_models_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
