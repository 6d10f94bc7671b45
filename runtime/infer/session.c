/* SPDX-License-Identifier: MIT */
/*
 * session: one sequence - how far each layer has got, its pages, its tokens, its cuts, its sampler.
 */
#include <stdlib.h>
#include "base/trace.h"
#include "infer/infer.h"

static int loaded_layers(const struct sherd_model *m)
{
	return m->info.end_layer - m->info.first_layer;
}

static int set_cuts(struct sherd_session *s, const struct sherd_session_params *p,
		    struct sherd_error *err)
{
	int n_layers = s->model->info.n_layers, i;

	s->wire = p->wire;
	if (p->n_cuts <= 0)
		return 0;
	if ((unsigned)p->wire > SHERD_WIRE_F32)
		return sherd_fail(err, -EINVAL, "wire type %d is unknown", p->wire);
	s->cuts = sherd_calloc(n_layers / 64 + 1, sizeof(*s->cuts));
	if (!s->cuts)
		return sherd_fail_oom(err, (n_layers / 64 + 1) * sizeof(*s->cuts), "the cuts");
	for (i = 0; i < p->n_cuts; i++) {
		int layer = p->cuts[i];

		if (layer < 1 || layer >= n_layers)
			return sherd_fail(
				err, -EINVAL,
				"cannot cut before layer %d: a model of %d layers can be cut "
				"before layers 1 to %d",
				layer, n_layers, n_layers - 1);
		s->cuts[layer / 64] |= 1ull << (layer % 64);
	}
	return 0;
}

int sherd_session_new(struct sherd_session **session, struct sherd_model *m,
		      const struct sherd_session_params *params, struct sherd_error *err)
{
	struct sherd_session_params greedy = { .sampler = { .repeat_penalty = 1.0f } };
	struct sherd_session *s = sherd_calloc(1, sizeof(*s));
	int n_ctx = m->info.n_ctx, rc;

	*session = NULL;
	if (!s)
		return sherd_fail_oom(err, sizeof(*s), "a session");
	if (!params)
		params = &greedy;
	s->model = m;
	s->sampler = params->sampler;
	s->layer_pos = sherd_calloc(loaded_layers(m), sizeof(*s->layer_pos));
	s->tokens = sherd_calloc(n_ctx, sizeof(*s->tokens));
	if (!s->layer_pos || !s->tokens)
		rc = sherd_fail_oom(err, n_ctx * sizeof(*s->tokens), "a session's history");
	else
		rc = sherd_kv_table_init(&s->table, DIV_ROUND_UP(n_ctx, SHERD_PAGE), err);
	if (!rc)
		rc = set_cuts(s, params, err);
	if (rc) {
		sherd_session_free(s);
		return rc;
	}
	*session = s;
	return 0;
}

void sherd_session_free(struct sherd_session *s)
{
	if (!s)
		return;
	sherd_kv_table_destroy(&s->table, &s->model->pool);
	free(s->layer_pos);
	free(s->tokens);
	free(s->cuts);
	free(s);
}

int sherd_session_pos(const struct sherd_session *s)
{
	int pos = s->layer_pos[0], i;

	for (i = 1; i < loaded_layers(s->model); i++)
		pos = MIN(pos, s->layer_pos[i]);
	return pos;
}

int sherd_session_reach(const struct sherd_session *s)
{
	int pos = 0, i;

	for (i = 0; i < loaded_layers(s->model); i++)
		pos = MAX(pos, s->layer_pos[i]);
	return pos;
}

int sherd_session_truncate(struct sherd_session *s, int pos, struct sherd_error *err)
{
	int reach = sherd_session_reach(s), i;

	if (pos < 0 || pos > reach)
		return sherd_fail(err, -EINVAL,
				  "cannot go back to position %d: the session has %d positions",
				  pos, reach);
	for (i = 0; i < loaded_layers(s->model); i++)
		s->layer_pos[i] = MIN(s->layer_pos[i], pos);
	s->n_tokens = MIN(s->n_tokens, pos);
	sherd_kv_table_shrink(&s->table, &s->model->pool, pos);
	return 0;
}

const int32_t *sherd_session_tokens(const struct sherd_session *s, int *n)
{
	*n = s->n_tokens;
	return s->tokens;
}

int32_t sherd_session_sample(struct sherd_session *s, const float *logits)
{
	return sherd_session_sample_at(s, sherd_session_pos(s), logits);
}

int32_t sherd_session_sample_at(struct sherd_session *s, int pos, const float *logits)
{
	SHERD_TRACE_SCOPE("sample", NULL);
	int32_t id = sherd_sampler_draw(&s->sampler, pos, logits, s->model->info.n_vocab, s->tokens,
					MIN(s->n_tokens, pos), s->model->candidates);

	SHERD_PROBE(token, s, pos, id);
	return id;
}

void sherd_session_set_sampler(struct sherd_session *s, const struct sherd_sampler_params *sampler)
{
	s->sampler = *sampler;
}
