/* SPDX-License-Identifier: MIT */
/*
 * model: opens one - name to file, file to shard, shard to step list, step list to executor - and
 * takes it apart again. Also the two calls that need nothing but the above: prefill and version.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/trace.h"
#include "device/tune.h"
#include "infer/infer.h"
#include "model/tokenizer.h"

#define DEFAULT_BATCH 256
#define MAX_CTX	      (1 << 24)
#define MAX_BATCH     (1 << 15) /* GPUs take grids of 65535 rows */

const char *sherd_version(void)
{
	return SHERD_VERSION;
}

static int check_params(const struct sherd_model_params *p, struct sherd_error *err)
{
	if (p->n_ctx < 0 || p->n_ctx > MAX_CTX)
		return sherd_fail(err, -EINVAL, "a context of %d is not between 1 and %d", p->n_ctx,
				  MAX_CTX);
	if (p->n_batch < 0 || p->n_batch > MAX_BATCH)
		return sherd_fail(err, -EINVAL, "a batch of %d rows is not between 1 and %d",
				  p->n_batch, MAX_BATCH);
	if (p->n_sessions < 0)
		return sherd_fail(err, -EINVAL, "%d sessions are less than one", p->n_sessions);
	if (p->bits != 0 && p->bits != 4 && p->bits != 8)
		return sherd_fail(err, -EINVAL, "weights of %d bits are not there: 4 or 8",
				  p->bits);
	if ((unsigned)p->kv_type > SHERD_KV_F32)
		return sherd_fail(err, -EINVAL, "KV cache type %d is unknown", p->kv_type);
	return sherd_rung_check(p->region, err);
}

static int open_shard(struct sherd_model *m, const char *name, const struct sherd_model_params *p,
		      struct sherd_error *err)
{
	struct sherd_pack_params pack = { .bits = p->bits,
					  .first_layer = p->first_layer,
					  .end_layer = p->end_layer,
					  .progress = p->progress,
					  .note = p->note,
					  .ctx = p->ctx };
	SHERD_TRACE_SCOPE("shard", name);
	int rc = sherd_resolve_model(name, &m->path, err);

	if (rc)
		return rc;
	return sherd_shard_get(&m->shard, m->path, &pack, p->no_cache, &m->in_memory, err);
}

static int open_tokenizer(struct sherd_model *m, struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("tokenizer", NULL);
	int rc = sherd_tokenizer_from_gguf(&m->tokenizer, m->shard->gguf, err), n;

	if (rc == -ENOENT) {
		m->tokenizer = NULL;
		return 0;
	}
	if (rc)
		return sherd_fail_prefix(err, rc, "%s", m->path);
	n = sherd_tokenizer_n_vocab(m->tokenizer);
	if (n > m->shard->hp.n_vocab)
		return sherd_fail(
			err, -EINVAL,
			"%s: the tokenizer has %d tokens, the model only %d: they do not belong "
			"together",
			m->path, n, m->shard->hp.n_vocab);
	return 0;
}

/* More than the model was trained for gets a remark. */
static void choose_ctx(struct sherd_model *m, const struct sherd_model_params *p)
{
	int trained = m->shard->hp.n_ctx_train;
	char note[160];

	m->info.n_ctx = sherd_hparams_ctx(&m->shard->hp, p->n_ctx);
	if (p->n_ctx > trained && p->note) {
		snprintf(note, sizeof(note),
			 "a context of %d is more than the %d that the model was trained for",
			 p->n_ctx, trained);
		p->note(p->ctx, note);
	}
}

static int open_exec(struct sherd_model *m, const struct sherd_model_params *p, int n_pages,
		     struct sherd_error *err)
{
	struct sherd_exec_params ep = { .program = m->program,
					.n_batch = m->info.n_batch,
					.n_pages = n_pages,
					.n_threads = p->n_threads,
					.kv_type = p->kv_type,
					.device = p->device,
					.tune = p->tune,
					.automatic = !p->device || !strcmp(p->device, "auto"),
					.untested = p->untested,
					.hold_kv = p->hold_kv,
					.region = m->region,
					.progress = p->progress,
					.note = p->note,
					.ctx = p->ctx };
	SHERD_TRACE_SCOPE("device", p->device);
	int rc;

	/* a wrong file is the caller's mistake, and no reason to compute on something else */
	rc = sherd_tune_check(p->tune, err);
	return rc ? rc : sherd_exec_open(&m->exec, &ep, err);
}

static void fill_info(struct sherd_model *m, const struct sherd_model_params *p)
{
	const struct sherd_hparams *hp = &m->shard->hp;
	struct sherd_model_info *i = &m->info;
	struct gguf_str name = { "", 0 };

	gguf_get_str(m->shard->gguf, "sherd.source.name", &name, NULL);
	m->name = strndup(name.data, name.len);
	i->path = m->path;
	i->arch = hp->arch->name;
	i->name = m->name ? m->name : "";
	i->n_layers = hp->n_layers;
	i->first_layer = m->shard->first_layer;
	i->end_layer = m->shard->end_layer;
	i->hidden = hp->hidden;
	i->n_heads = hp->n_heads;
	i->n_kv_heads = hp->n_kv_heads;
	i->head_dim = hp->head_dim;
	i->ffn = hp->ffn;
	i->n_vocab = hp->n_vocab;
	i->n_ctx_train = hp->n_ctx_train;
	i->encoder = hp->arch->encoder;
	i->pooling = hp->pooling;
	i->n_batch = p->n_batch	   ? p->n_batch :
		     i->encoder ? MAX(i->n_ctx, 1) : /* a text is one step */
				  DEFAULT_BATCH;
	i->n_threads = p->n_threads;
	i->n_params = m->shard->n_params;
	i->weight_bytes = m->shard->weight_bytes;
	i->token_bytes = m->shard->token_bytes;
	i->packed_in_memory = m->in_memory;
	i->source_sha256 = m->shard->source_sha256;
}

/* @name: of the i-th way. */
static char *add_refused(char *text, const struct sherd_error *refused, int n,
			 const char *(*name)(int))
{
	char *longer;

	for (int i = 0; i < n && text; i++) {
		if (!refused[i].msg[0])
			continue;
		longer = sherd_asprintf("%s%s%s: %s", text, text[0] ? "\n" : "", name(i),
					refused[i].msg);
		free(text);
		text = longer;
	}
	return text;
}

static char *list_refused(const struct sherd_model *m)
{
	char *text = add_refused(strdup(""), m->region->refused, SHERD_N_RUNGS, sherd_rung_name);

	return add_refused(text, m->exec->weights_refused, m->exec->n_refused,
			   m->exec->weights_name);
}

static int open_region(struct sherd_model *m, const struct sherd_model_params *p,
		       struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("region", p->region);

	return sherd_region_open_watched(&m->region, &m->shard->gguf->map, p->region, p->progress,
					 p->ctx, err);
}

/* The step list, the executor and what steps and sessions need beside it. */
static int start(struct sherd_model *m, const struct sherd_model_params *p, struct sherd_error *err)
{
	int64_t n_pages;
	int rc;

	n_pages = (int64_t)(p->n_sessions ? p->n_sessions : 1) *
		  DIV_ROUND_UP(m->info.n_ctx, SHERD_PAGE);
	if (n_pages > INT_MAX)
		return sherd_fail(err, -EINVAL,
				  "%d sessions of %d tokens are more than a KV cache holds",
				  p->n_sessions, m->info.n_ctx);
	rc = sherd_program_build(&m->program, m->shard, m->info.n_ctx, err);
	if (rc)
		return sherd_fail_prefix(err, rc, "%s", m->path);
	m->kv = (struct sherd_kv_shape){ m->info.end_layer - m->info.first_layer,
					 m->info.n_kv_heads, m->info.head_dim, p->kv_type };
	rc = sherd_kv_pool_init(&m->pool, n_pages, err);
	if (!rc)
		rc = sherd_step_scratch_init(&m->scratch, m->info.n_batch, err);
	if (rc)
		return rc;
	m->candidates = sherd_calloc(m->info.n_vocab, sizeof(*m->candidates));
	if (!m->candidates)
		return sherd_fail_oom(err, m->info.n_vocab * sizeof(*m->candidates), "the sampler");
	rc = open_region(m, p, err);
	if (rc)
		return sherd_fail_prefix(err, rc, "%s", m->path);
	rc = open_exec(m, p, n_pages, err);
	if (rc)
		return rc;
	m->info.device = m->exec->device;
	m->info.device_why = m->exec->why;
	m->info.tune = m->exec->tune;
	m->info.device_chosen = m->exec->chosen;
	m->info.kv_bytes = m->exec->kv_bytes;
	m->info.kv_page = SHERD_PAGE;
	m->info.kv_pages = (int)n_pages;
	m->info.scratch_bytes = m->exec->scratch_bytes;
	m->info.bit_profile = m->exec->bit_profile;
	m->info.region = m->region->how;
	m->info.weights = m->exec->weights;
	m->info.refused = m->refused = list_refused(m);
	return m->refused ? 0 : sherd_fail_oom(err, 1, "a model's description");
}

int sherd_model_open(struct sherd_model **model, const char *name,
		     const struct sherd_model_params *params, struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("open", name);
	struct sherd_model_params defaults = SHERD_MODEL_PARAMS_INIT;
	struct sherd_model *m;
	int rc;

	*model = NULL;
	if (!params)
		params = &defaults;
	rc = check_params(params, err);
	if (rc)
		return rc;
	m = sherd_calloc(1, sizeof(*m));
	if (!m)
		return sherd_fail_oom(err, sizeof(*m), "a model");
	rc = open_shard(m, name, params, err);
	if (!rc)
		rc = open_tokenizer(m, err);
	if (!rc) {
		choose_ctx(m, params);
		fill_info(m, params);
		rc = start(m, params, err);
	}
	if (rc) {
		sherd_model_close(m);
		return rc;
	}
	*model = m;
	return 0;
}

void sherd_model_close(struct sherd_model *m)
{
	if (!m)
		return;
	if (m->exec)
		m->exec->ops->close(m->exec);
	sherd_region_close(m->region);
	sherd_program_free(m->program);
	sherd_step_scratch_destroy(&m->scratch);
	sherd_kv_pool_destroy(&m->pool);
	sherd_tokenizer_free(m->tokenizer);
	sherd_shard_close(m->shard);
	free(m->candidates);
	free(m->refused);
	free(m->path);
	free(m->name);
	free(m);
}

int sherd_model_use_ring(struct sherd_model *m, struct sherd_region *ring, struct sherd_error *err)
{
	return m->exec->ops->use_ring ? m->exec->ops->use_ring(m->exec, ring, err) : 0;
}

int sherd_model_check(struct sherd_model *m, struct sherd_error *err)
{
	return m->exec->ops->check ? m->exec->ops->check(m->exec, err) : 0;
}

const struct sherd_model_info *sherd_model_info(const struct sherd_model *m)
{
	return &m->info;
}

const struct sherd_tokenizer *sherd_model_tokenizer(const struct sherd_model *m)
{
	return m->tokenizer;
}

int sherd_prefill(struct sherd_session *s, const int32_t *tokens, int n, const float **logits,
		  struct sherd_error *err)
{
	struct sherd_model *m = s->model;
	struct sherd_rows rows = { 0 };
	int done, start = sherd_session_pos(s), rc;

	*logits = NULL;
	if (m->info.encoder)
		return sherd_fail(err, -ENOTSUP,
				  "%s: is an encoder (%s), which gives vectors and no logits: "
				  "sherd_embed()",
				  m->path, m->info.arch);
	if (n < 1)
		return sherd_fail(err, -EINVAL,
				  "the prompt is empty: at least one token is needed");
	if (n > m->info.n_ctx - start)
		return sherd_fail(
			err, -ENOSPC,
			"the context of %d tokens is full: position %d and %d more do not fit",
			m->info.n_ctx, start, n);
	for (done = 0; done < n;) {
		struct sherd_item item = { .session = s, .tokens = tokens + done,
					   .n = MIN(n - done, m->info.n_batch) };

		done += item.n;
		item.want = done == n ? SHERD_WANT_LAST : SHERD_WANT_NONE;
		rc = sherd_step(m, &item, 1, 0, 0, &rows, err);
		if (rc) {
			if (done > item.n) /* else nothing has moved */
				sherd_session_truncate(s, start, NULL);
			return rc;
		}
	}
	*logits = rows.data;
	return 0;
}
