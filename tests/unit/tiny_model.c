/* SPDX-License-Identifier: MIT */
/* tiny_model: see tiny_model.h. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "model/shard.h"
#include "tiny_model.h"

#define QK 256 /* weights of a K-quant's block */

#define REST NULL, 0, 0, NULL, 0, NULL, NULL /* nothing huge, no window, nothing odd, no more */

const struct tiny_model tiny_models[] = {
	/*
	 * arch, layers, hidden, heads, kv, head_dim, ffn, vocab, ctx, type, embd, tied, freqs, seed
	 */
	{ "llama", 2, 96, 3, 1, 32, 160, 77, 700, GGML_Q4_0, GGML_Q8_0, false, false, 1, REST },
	{ "llama", 3, 64, 4, 2, 16, 96, 130, 700, GGML_Q8_0, GGML_F16, true, true, 2, REST },
	{ "llama", 2, 52, 2, 2, 26, 43, 61, 700, GGML_F32, GGML_F32, false, false, 3, REST },
	{ "qwen2", 2, 160, 6, 2, 32, 224, 50, 700, GGML_Q4_1, GGML_Q5_0, true, false, 4, REST },
	{ "qwen2", 2, 256, 4, 2, 64, 512, 33, 700, GGML_Q4_K, GGML_Q6_K, true, false, 5, REST },
	{ "gpt2", 2, 256, 4, 4, 64, 256, 40, 700, GGML_Q6_K, GGML_Q5_K, true, false, 6, REST },
	{ "gpt2", 2, 40, 2, 2, 20, 70, 45, 700, GGML_F16, GGML_BF16, true, false, 7, REST },
	{ 0 },
};

const struct tiny_model tiny_plain = {
	.arch = "llama",
	.n_layers = 3,
	.hidden = 64,
	.n_heads = 2,
	.n_kv_heads = 1,
	.head_dim = 32,
	.ffn = 64,
	.n_vocab = 40,
	.n_ctx = 256,
	.type = GGML_Q8_0,
	.embd_type = GGML_Q8_0,
	.seed = 9,
};

/* Windows end within a page, within a chunk and beyond one. */
#define FAMILY_OF(layers, name, heads, kv, of_window, what, ...)                             \
	{                                                                                    \
		.arch = (name), .n_layers = (layers), .hidden = 64, .n_heads = (heads),      \
		.n_kv_heads = (kv), .head_dim = 32, .ffn = 96, .n_vocab = 60, .n_ctx = 700,  \
		.type = GGML_Q4_0, .embd_type = GGML_Q8_0, .seed = 8, .window = (of_window), \
		.more = (what), ##__VA_ARGS__                                                \
	}
#define FAMILY(...)  FAMILY_OF(3, __VA_ARGS__)
#define MOST_ROTATED "rope.dimension_count=16"

const struct tiny_model tiny_families[] = {
	FAMILY("llama", 4, 2, 37, NULL), /* Mistral */
	FAMILY("qwen2", 3, 1, 261, "attention.sliding_window_pattern=2"),
	FAMILY("qwen3", 4, 2, 0, NULL),
	FAMILY("qwen3", 4, 2, 0,
	       "rope.scaling.type=yarn,rope.scaling.factor=4.0,"
	       "rope.scaling.original_context_length=96"),
	FAMILY("gpt2", 2, 2, 0, NULL),
	FAMILY("opt", 2, 2, 0, NULL),
	FAMILY("opt", 2, 2, 0, "norm_after=true,embedding_length_in=32"),
	FAMILY("gptj", 2, 2, 0, MOST_ROTATED),
	FAMILY("phi3", 4, 1, 270,
	       "rope.scaling.type=longrope,rope.scaling.original_context_length=64"),
	FAMILY("gemma", 3, 1, 0, NULL),
	FAMILY("gemma2", 4, 2, 50,
	       "attn_logit_softcapping=2.5,final_logit_softcapping=4.5,attention.scale=0.3"),
	FAMILY("gemma3", 4, 1, 100, "attention.sliding_window_pattern=3"),
	FAMILY("phi2", 2, 2, 0, MOST_ROTATED),
	FAMILY("falcon", 3, 1, 0, NULL),
	FAMILY("falcon", 4, 2, 0, NULL, .with = "blk.0.attn_norm_2.weight"), /* 40B */
	FAMILY("gptneox", 2, 2, 0, MOST_ROTATED),
	FAMILY("gptneox", 2, 2, 0, "use_parallel_residual=false"),
	FAMILY("starcoder2", 4, 2, 0, NULL),
	FAMILY("stablelm", 4, 4, 0, MOST_ROTATED),
	FAMILY("stablelm", 4, 2, 0, MOST_ROTATED ",use_parallel_residual=true",
	       .with = "blk.0.attn_q_norm.weight"), /* StableLM 2 12B */
	FAMILY("granite", 4, 2, 0,
	       "attention.scale=0.25,embedding_scale=3.0,residual_scale=0.4,logit_scale=2.0"),
	FAMILY("olmo2", 4, 2, 0, NULL),
	FAMILY("olmo2", 4, 2, 50, /* OLMo 3 */
	       "attention.sliding_window_pattern=2,rope.scaling.type=yarn,rope.scaling.factor=4.0"),
	FAMILY_OF(SHERD_SKIP_PERIOD, "smollm3", 4, 2, 0, NULL),
	FAMILY("exaone4", 4, 2, 50, "attention.sliding_window_pattern=2"),
	FAMILY("llama", 4, 2, 0, "expert_count=5,expert_used_count=2"), /* Mixtral */
	FAMILY("qwen2moe", 3, 1, 0,
	       "expert_count=7,expert_used_count=3,expert_feed_forward_length=32"),
	FAMILY("qwen3moe", 4, 2, 0,
	       "expert_count=9,expert_used_count=4,expert_feed_forward_length=64"),
	{ 0 },
};

float tiny_normal(uint64_t *state)
{
	float sum = 0;
	int i;

	for (i = 0; i < 12; i++)
		sum += (float)tiny_random(state) * 0x1p-32f;
	return sum - 6.0f;
}

const char *tiny_model_describe(const struct tiny_model *t)
{
	static char buf[96];

	snprintf(buf, sizeof(buf), "%s %s, %d layers of %d", t->arch, ggml_type_name(t->type),
		 t->n_layers, t->hidden);
	return buf;
}

struct maker {
	const struct tiny_model *t;
	struct gguf_writer *w;
	uint64_t rng;
	struct sherd_hparams hp;
	bool data; /* second pass: bytes instead of headers */
	struct sherd_error err;
};

static void die(struct maker *m)
{
	fprintf(stderr, "tiny_model: %s\n", m->err.msg);
	abort();
}

static void emit(struct maker *m, const void *data, size_t size)
{
	if (gguf_writer_data(m->w, data, size, &m->err))
		die(m);
}

static void put_half(uint8_t *p, float x)
{
	uint16_t h = sherd_f32_to_f16(x);

	memcpy(p, &h, sizeof(h));
}

/* A random block of a quantized type whose weights have a standard deviation of about @s. */
static void make_block(struct maker *m, enum ggml_type type, float s, uint8_t *p)
{
	unsigned n = ggml_block_bytes(type), i;
	float k = s * (0.5f + (float)tiny_below(&m->rng, 100) / 100.0f);

	for (i = 0; i < n; i++)
		p[i] = (uint8_t)tiny_random(&m->rng);
	switch (type) {
	case GGML_Q4_0:
		put_half(p, k / 4.6f * (tiny_below(&m->rng, 2) ? 1 : -1));
		break;
	case GGML_Q4_1:
		put_half(p, k / 4.6f);
		put_half(p + 2, -7.5f * k / 4.6f);
		break;
	case GGML_Q5_0:
		put_half(p, k / 9.2f);
		break;
	case GGML_Q5_1:
		put_half(p, k / 9.2f);
		put_half(p + 2, -15.5f * k / 9.2f);
		break;
	case GGML_Q8_0:
		put_half(p, k / 74.0f);
		break;
	case GGML_Q2_K:
		put_half(p + n - 4, k / (1.1f * 8));
		put_half(p + n - 2, 1.5f * k / (1.1f * 8));
		break;
	case GGML_Q3_K:
		put_half(p + n - 2, k / (2.3f * 18.5f));
		break;
	case GGML_IQ4_NL:
		put_half(p, k / 70.0f);
		break;
	case GGML_IQ4_XS:
		put_half(p, k / (70.0f * 18.5f));
		break;
	case GGML_MXFP4:
		p[0] = (uint8_t)(128 + ilogbf(k / 6));
		break;
	case GGML_Q4_K:
		put_half(p, k / (4.6f * 32));
		put_half(p + 2, 7.5f * k / (4.6f * 32));
		break;
	case GGML_Q5_K:
		put_half(p, k / (9.2f * 32));
		put_half(p + 2, 15.5f * k / (9.2f * 32));
		break;
	case GGML_Q6_K:
		put_half(p + n - 2, k / (18.5f * 74));
		break;
	default:
		abort();
	}
}

static void emit_floats(struct maker *m, enum ggml_type type, const float *x, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		uint16_t h = sherd_f32_to_f16(x[i]);
		uint32_t u;

		memcpy(&u, &x[i], sizeof(u));
		if (type == GGML_F32)
			emit(m, &x[i], sizeof(float));
		else if (type == GGML_F16)
			emit(m, &h, sizeof(h));
		else
			emit(m, (uint16_t[]){ (uint16_t)(u >> 16) }, sizeof(h));
	}
}

static void matrix(struct maker *m, const char *name, enum ggml_type type, int rows, int cols)
{
	uint64_t dims[2] = { (uint64_t)cols, (uint64_t)rows };
	size_t n = (size_t)rows * (size_t)cols, i;
	float s = 1.0f / sqrtf((float)cols);
	uint8_t block[QK];

	if (m->t->odd && !strcmp(name, m->t->odd))
		type = m->t->odd_type;
	if (!m->data) {
		gguf_put_tensor(m->w, name, type, 2, dims);
		return;
	}
	if (type == GGML_F32 || type == GGML_F16 || type == GGML_BF16) {
		for (i = 0; i < n; i++)
			emit_floats(m, type, (float[]){ s * tiny_normal(&m->rng) }, 1);
		return;
	}
	for (i = 0; i < n; i += ggml_block_size(type)) {
		make_block(m, type, s, block);
		emit(m, block, ggml_block_bytes(type));
	}
}

/* Values around @mean. */
static void vector(struct maker *m, const char *name, int n, float mean)
{
	uint64_t dims[1] = { (uint64_t)n };
	int i;

	if (!m->data) {
		gguf_put_tensor(m->w, name, GGML_F32, 1, dims);
		return;
	}
	if (m->t->huge && !strcmp(name, m->t->huge))
		mean = m->t->huge_mean;
	for (i = 0; i < n; i++) {
		float x = mean + 0.1f * tiny_normal(&m->rng);

		emit_floats(m, GGML_F32, &x, 1);
	}
}

static void name_of(const char *part, int layer, char name[96])
{
	if (layer < 0)
		snprintf(name, 96, "%s", part);
	else
		snprintf(name, 96, "blk.%d.%s", layer, part);
}

static void put_vector(struct maker *m, const char *part, int layer, int n)
{
	char name[96];

	name_of(part, layer, name);
	vector(m, name, n, strstr(part, "bias") ? 0.0f : strstr(part, "rope_f") ? 2.0f : 1.0f);
}

static void put_matrix(struct maker *m, const char *part, int layer, int rows, int cols)
{
	bool embd = !strcmp(part, "token_embd.weight");
	char name[96];

	name_of(part, layer, name);
	matrix(m, name,
	       embd ? m->t->embd_type :
	       !strcmp(part, "position_embd.weight") || !strncmp(part, "ffn_gate_inp", 12) ?
		      GGML_F32 :
		      m->t->type,
	       rows, cols);
}

/* Each expert's matrix after the other. */
static void put_stack(struct maker *m, enum sherd_slot slot, int layer, int cols)
{
	int rows = (int)sherd_slot_expert_rows(&m->hp, slot), n = m->hp.n_experts;
	uint64_t dims[3] = { (uint64_t)cols, (uint64_t)rows, (uint64_t)n };
	char name[96];

	name_of(sherd_slot_base(slot), layer, name);
	if (m->data)
		matrix(m, name, m->t->type, n * rows, cols);
	else
		gguf_put_tensor(m->w, name, m->t->type, 3, dims);
}

/* Is what a model may have or not in this one? */
static bool wanted(const struct maker *m, enum sherd_slot slot)
{
	const struct sherd_arch *a = m->hp.arch;

	switch (slot) {
	case SHERD_OUTPUT:
		return !m->t->tied;
	case SHERD_ROPE_FREQS:
		return m->t->rope_freqs;
	case SHERD_ATTN_QKV:
		return a->qkv_fused;
	case SHERD_ATTN_Q:
	case SHERD_ATTN_K:
	case SHERD_ATTN_V:
		return !a->qkv_fused;
	case SHERD_FFN_GATE_UP:
		return a->gate_up_fused;
	case SHERD_FFN_GATE:
	case SHERD_FFN_UP:
		return !a->gate_up_fused;
	case SHERD_EXPERTS_GATE:
	case SHERD_EXPERTS_UP:
	case SHERD_SHARED_GATE:
	case SHERD_SHARED_UP:
		return true;
	default:
		return false;
	}
}

/* A slot under the names that files have it by: what is stacked there is in parts here. */
static void put_slot(struct maker *m, enum sherd_slot slot, int layer)
{
	const struct sherd_hparams *hp = &m->hp;
	enum sherd_slot_need need = sherd_slot_need(hp, slot, 0, hp->n_layers);
	int kv = hp->n_kv_heads * hp->head_dim;
	uint32_t rows, cols;

	if (need == SHERD_SLOT_NEVER || (need == SHERD_SLOT_OPTIONAL && !wanted(m, slot)))
		return;
	sherd_slot_shape(hp, slot, &rows, &cols);
	if (slot == SHERD_FFN_GATE_UP) {
		put_matrix(m, "ffn_up.weight", layer, rows, cols);
	} else if (slot == SHERD_ATTN_QKV_BIAS && !hp->arch->qkv_fused) {
		put_vector(m, "attn_q.bias", layer, cols - 2 * kv);
		put_vector(m, "attn_k.bias", layer, kv);
		put_vector(m, "attn_v.bias", layer, kv);
	} else if (sherd_slot_is_experts(slot)) {
		put_stack(m, slot, layer, (int)cols);
	} else if (sherd_slot_is_vector(slot)) {
		put_vector(m, sherd_slot_file_name(hp, slot), layer, cols);
	} else {
		put_matrix(m, sherd_slot_base(slot), layer, rows, cols);
	}
}

static void tensors(struct maker *m)
{
	int l, slot;

	m->rng = m->t->seed;
	for (slot = 0; slot < SHERD_FIRST_LAYER_SLOT; slot++)
		put_slot(m, slot, -1);
	for (l = 0; l < m->t->n_layers; l++)
		for (slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS; slot++)
			put_slot(m, slot, l);
}

static void put_int(struct maker *m, const char *name, int v)
{
	char key[192];

	snprintf(key, sizeof(key), "%s.%s", m->t->arch, name);
	gguf_put_u32(m->w, key, (uint32_t)v);
}

static void put_float(struct maker *m, const char *name, float v)
{
	char key[192];

	snprintf(key, sizeof(key), "%s.%s", m->t->arch, name);
	gguf_put_f32(m->w, key, v);
}

/* The rest of a family's metadata: a number without a point is an integer. */
static void put_more(struct maker *m)
{
	const char *at = m->t->more;
	char name[96], value[64], key[192];
	int n;

	for (; at && sscanf(at, "%95[^=]=%63[^,]%n", name, value, &n) == 2;
	     at += n + (at[n] == ',')) {
		snprintf(key, sizeof(key), "%s.%s", m->t->arch, name);
		if (!strcmp(value, "true") || !strcmp(value, "false"))
			gguf_put_bool(m->w, key, *value == 't');
		else if (strchr(value, '.'))
			put_float(m, name, strtof(value, NULL));
		else if (strspn(value, "0123456789") == strlen(value))
			put_int(m, name, atoi(value));
		else
			gguf_put_str(m->w, key, value);
	}
}

static void metadata(struct maker *m)
{
	const struct tiny_model *t = m->t;

	gguf_put_str(m->w, "general.architecture", t->arch);
	gguf_put_str(m->w, "general.name", "tiny");
	put_int(m, "block_count", t->n_layers);
	put_int(m, "embedding_length", t->hidden);
	put_int(m, "feed_forward_length", t->ffn);
	put_int(m, "attention.head_count", t->n_heads);
	put_int(m, "attention.head_count_kv", t->n_kv_heads);
	put_int(m, "context_length", t->n_ctx);
	put_int(m, "vocab_size", t->n_vocab);
	if (t->window)
		put_int(m, "attention.sliding_window", t->window);
	put_float(m, "attention.layer_norm_epsilon", 1e-5f);
	put_float(m, "attention.layer_norm_rms_epsilon", 1e-5f);
	put_int(m, "attention.key_length", t->head_dim);
	put_int(m, "attention.value_length", t->head_dim);
	if (!t->more || !strstr(t->more, "rope.dimension_count"))
		put_int(m, "rope.dimension_count", t->head_dim);
	put_float(m, "rope.freq_base", 10000.0f);
	put_more(m);
}

static void begin(struct maker *m, int fd, const char *path)
{
	m->w = gguf_writer_new(fd, path, 32);
	metadata(m);
}

/*
 * What the library makes of the metadata, which says which tensors there have to be; where a tensor
 * itself says so, it has to be there.
 */
static void read_hparams(struct maker *m, const char *path, int fd)
{
	static const float one[] = { 1 };
	struct gguf *g;

	begin(m, fd, path);
	if (m->t->with)
		gguf_put_tensor(m->w, m->t->with, GGML_F32, 1, (uint64_t[]){ 1 });
	if (gguf_writer_header(m->w, &m->err))
		die(m);
	if (m->t->with)
		emit(m, one, sizeof(one));
	if (gguf_writer_finish(m->w, &m->err))
		die(m);
	gguf_writer_free(m->w);
	if (gguf_open(&g, path, &m->err) || sherd_hparams_read(&m->hp, g, &m->err))
		die(m);
	gguf_close(g);
	if (ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET))
		abort();
}

char *tiny_model_write(const struct tiny_model *t)
{
	struct maker m = { .t = t };
	const char *dir = getenv("TMPDIR");
	char *path = sherd_asprintf("%s/sherd-tiny-XXXXXX", dir ? dir : "/tmp");
	int fd = path ? mkstemp(path) : -1;

	if (fd < 0) {
		perror(path);
		abort();
	}
	read_hparams(&m, path, fd);
	begin(&m, fd, path);
	tensors(&m);
	if (gguf_writer_header(m.w, &m.err))
		die(&m);
	m.data = true;
	tensors(&m);
	if (gguf_writer_finish(m.w, &m.err))
		die(&m);
	gguf_writer_free(m.w);
	close(fd);
	return path;
}

int tiny_model_open(struct sherd_model **m, const struct tiny_model *t,
		    const struct sherd_model_params *p, struct sherd_error *err)
{
	struct sherd_model_params params = *p;
	char *path = tiny_model_write(t);
	int rc;

	params.no_cache = true;
	rc = sherd_model_open(m, path, &params, err);
	unlink(path);
	free(path);
	return rc;
}
