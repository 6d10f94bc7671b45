/* SPDX-License-Identifier: MIT */
/* tiny_model: see tiny_model.h. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "tiny_model.h"

#define QK 256 /* weights of a K-quant's block */

#define REST NULL, 0, 0, NULL, 0 /* nothing huge, no window, nothing odd */

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

static const char *blk(int layer, const char *what)
{
	static char buf[64];

	snprintf(buf, sizeof(buf), "blk.%d.%s", layer, what);
	return buf;
}

static void attention(struct maker *m, int l, bool gpt2)
{
	const struct tiny_model *t = m->t;
	int q = t->n_heads * t->head_dim, kv = t->n_kv_heads * t->head_dim;
	bool bias = strcmp(t->arch, "llama") != 0;

	vector(m, blk(l, "attn_norm.weight"), t->hidden, 1.0f);
	if (gpt2) {
		vector(m, blk(l, "attn_norm.bias"), t->hidden, 0.0f);
		matrix(m, blk(l, "attn_qkv.weight"), t->type, q + 2 * kv, t->hidden);
		vector(m, blk(l, "attn_qkv.bias"), q + 2 * kv, 0.0f);
		matrix(m, blk(l, "attn_output.weight"), t->type, t->hidden, q);
		vector(m, blk(l, "attn_output.bias"), t->hidden, 0.0f);
		return;
	}
	matrix(m, blk(l, "attn_q.weight"), t->type, q, t->hidden);
	matrix(m, blk(l, "attn_k.weight"), t->type, kv, t->hidden);
	matrix(m, blk(l, "attn_v.weight"), t->type, kv, t->hidden);
	if (bias) {
		vector(m, blk(l, "attn_q.bias"), q, 0.0f);
		vector(m, blk(l, "attn_k.bias"), kv, 0.0f);
		vector(m, blk(l, "attn_v.bias"), kv, 0.0f);
	}
	matrix(m, blk(l, "attn_output.weight"), t->type, t->hidden, q);
}

static void feed_forward(struct maker *m, int l, bool gpt2)
{
	const struct tiny_model *t = m->t;

	vector(m, blk(l, "ffn_norm.weight"), t->hidden, 1.0f);
	if (gpt2)
		vector(m, blk(l, "ffn_norm.bias"), t->hidden, 0.0f);
	else
		matrix(m, blk(l, "ffn_gate.weight"), t->type, t->ffn, t->hidden);
	matrix(m, blk(l, "ffn_up.weight"), t->type, t->ffn, t->hidden);
	if (gpt2)
		vector(m, blk(l, "ffn_up.bias"), t->ffn, 0.0f);
	matrix(m, blk(l, "ffn_down.weight"), t->type, t->hidden, t->ffn);
	if (gpt2)
		vector(m, blk(l, "ffn_down.bias"), t->hidden, 0.0f);
}

static void tensors(struct maker *m)
{
	const struct tiny_model *t = m->t;
	bool gpt2 = !strcmp(t->arch, "gpt2");
	int l;

	m->rng = t->seed;
	matrix(m, "token_embd.weight", t->embd_type, t->n_vocab, t->hidden);
	if (gpt2)
		matrix(m, "position_embd.weight", GGML_F32, t->n_ctx, t->hidden);
	if (t->rope_freqs)
		vector(m, "rope_freqs.weight", t->head_dim / 2, 2.0f);
	for (l = 0; l < t->n_layers; l++) {
		attention(m, l, gpt2);
		feed_forward(m, l, gpt2);
	}
	vector(m, "output_norm.weight", t->hidden, 1.0f);
	if (gpt2)
		vector(m, "output_norm.bias", t->hidden, 0.0f);
	if (!t->tied)
		matrix(m, "output.weight", t->type, t->n_vocab, t->hidden);
}

static void put_int(struct maker *m, const char *name, int v)
{
	char key[96];

	snprintf(key, sizeof(key), "%s.%s", m->t->arch, name);
	gguf_put_u32(m->w, key, (uint32_t)v);
}

static void put_float(struct maker *m, const char *name, float v)
{
	char key[96];

	snprintf(key, sizeof(key), "%s.%s", m->t->arch, name);
	gguf_put_f32(m->w, key, v);
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
	if (!strcmp(t->arch, "gpt2")) {
		put_float(m, "attention.layer_norm_epsilon", 1e-5f);
		return;
	}
	put_float(m, "attention.layer_norm_rms_epsilon", 1e-5f);
	put_int(m, "attention.key_length", t->head_dim);
	put_int(m, "attention.value_length", t->head_dim);
	put_int(m, "rope.dimension_count", t->head_dim);
	put_float(m, "rope.freq_base", 10000.0f);
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
	m.w = gguf_writer_new(fd, path, 32);
	metadata(&m);
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
