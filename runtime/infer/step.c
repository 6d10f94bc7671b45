/* SPDX-License-Identifier: MIT */
/*
 * step: the only way to compute. Checks a batch, takes the pages that it needs, flattens it to
 * rows and hands them to the executor. Sessions move when the executor has succeeded, all of them
 * or none.
 */
#include <stdlib.h>
#include "base/trace.h"
#include "infer/infer.h"

struct step {
	struct sherd_model *m;
	const struct sherd_item *items;
	int n_items, first, end; /* layers */
	int n_rows, n_wanted;
	struct sherd_error *err;
};

int sherd_step_scratch_init(struct sherd_step_scratch *s, int n_batch, struct sherd_error *err)
{
	size_t n = (size_t)n_batch + 1;

	s->tokens = sherd_calloc(n, sizeof(*s->tokens));
	s->pos = sherd_calloc(n, sizeof(*s->pos));
	s->last = sherd_calloc(n, sizeof(*s->last));
	s->item = sherd_calloc(n, sizeof(*s->item));
	s->item_row = sherd_calloc(n, sizeof(*s->item_row));
	s->wanted = sherd_calloc(n, sizeof(*s->wanted));
	s->cut_layers = sherd_calloc(n, sizeof(*s->cut_layers));
	s->wire = sherd_calloc(n, sizeof(*s->wire));
	s->wired = sherd_calloc(n, sizeof(*s->wired));
	s->out = sherd_calloc(n, sizeof(*s->out));
	if (s->tokens && s->pos && s->last && s->item && s->item_row && s->wanted && s->cut_layers &&
	    s->wire && s->wired && s->out)
		return 0;
	sherd_step_scratch_destroy(s);
	return sherd_fail_oom(err, n * sizeof(*s->tokens), "a step's rows");
}

void sherd_step_scratch_destroy(struct sherd_step_scratch *s)
{
	free(s->tokens);
	free(s->pos);
	free(s->last);
	free(s->item);
	free(s->item_row);
	free(s->wanted);
	free(s->cut_layers);
	free(s->wire);
	free(s->wired);
	free(s->out);
	free(s->hidden);
	free(s->pages);
	memset(s, 0, sizeof(*s));
}

static int check_range(struct step *s)
{
	const struct sherd_model_info *info = &s->m->info;

	if (!s->first && !s->end) {
		s->first = info->first_layer;
		s->end = info->end_layer;
	}
	if (s->first < info->first_layer || s->end > info->end_layer || s->first >= s->end)
		return sherd_fail(s->err, -EINVAL,
				  "layers %d to %d are not among the loaded layers %d to %d",
				  s->first, s->end, info->first_layer, info->end_layer);
	return 0;
}

/* Where the item's rows begin: the same in all layers of the range. */
static int item_pos(const struct step *s, const struct sherd_item *it)
{
	return it->session->layer_pos[s->first - s->m->info.first_layer];
}

static int check_tokens(struct step *s, int i)
{
	const struct sherd_item *it = &s->items[i];
	int k;

	for (k = 0; it->tokens && k < it->n; k++)
		if (it->tokens[k] < 0 || it->tokens[k] >= s->m->info.n_vocab)
			return sherd_fail(
				s->err, -EINVAL,
				"token %d (number %d of item %d) is outside the vocabulary of "
				"%d tokens",
				it->tokens[k], k, i, s->m->info.n_vocab);
	return 0;
}

static int check_out(struct step *s, int i)
{
	const void *out = s->items[i].out;

	if (!out != !s->items[0].out)
		return sherd_fail(s->err, -EINVAL,
				  "item %d: rows go to out for all items of a step, or for none",
				  i);
	if (out && s->end == s->m->info.n_layers)
		return sherd_fail(s->err, -EINVAL,
				  "item %d: logits, which come after the last layer, do not travel",
				  i);
	return 0;
}

static int check_item(struct step *s, int i)
{
	const struct sherd_item *it = &s->items[i];
	int base = s->m->info.first_layer, n_ctx = s->m->info.n_ctx, pos, l, rc;

	if (!it->session || it->session->model != s->m)
		return sherd_fail(s->err, -EINVAL, "item %d has no session of this model", i);
	if (it->session->in_step == s->m->n_steps)
		return sherd_fail(s->err, -EINVAL,
				  "item %d: its session is in the batch twice; join the two items",
				  i);
	it->session->in_step = s->m->n_steps;
	if (it->n < 1)
		return sherd_fail(s->err, -EINVAL, "item %d has %d rows: at least one is needed", i,
				  it->n);
	if (!s->first && !it->tokens)
		return sherd_fail(s->err, -EINVAL, "item %d has no tokens, which layer 0 needs", i);
	if (s->first && !it->hidden)
		return sherd_fail(s->err, -EINVAL,
				  "item %d has no hidden rows, which layer %d needs", i, s->first);
	rc = check_out(s, i);
	if (rc)
		return rc;
	pos = item_pos(s, it);
	if (s->m->info.encoder && pos)
		return sherd_fail(s->err, -ENOTSUP,
				  "item %d: its session has %d positions, and rows of this model "
				  "(%s) look at later ones too: a text is one item; truncate the "
				  "session to 0 for another text",
				  i, pos, s->m->info.arch);
	for (l = s->first; l < s->end; l++)
		if (it->session->layer_pos[l - base] != pos)
			return sherd_fail(
				s->err, -EINVAL,
				"item %d: layer %d is at position %d, layer %d at %d: a range "
				"must have got equally far",
				i, s->first, pos, l, it->session->layer_pos[l - base]);
	if (it->n > n_ctx - pos)
		return sherd_fail(
			s->err, -ENOSPC,
			"the context of %d tokens is full: position %d and %d more do not fit",
			n_ctx, pos, it->n);
	return check_tokens(s, i);
}

static int check_batch(struct step *s)
{
	int n_batch = s->m->info.n_batch, i, rc;

	if (s->n_items < 1)
		return sherd_fail(s->err, -EINVAL,
				  "the batch is empty: a step needs at least one item");
	rc = check_range(s);
	s->m->n_steps++;
	for (i = 0; i < s->n_items && !rc; i++) {
		rc = check_item(s, i);
		if (!rc && s->items[i].n > n_batch - s->n_rows)
			rc = sherd_fail(s->err, -E2BIG,
					"the batch has more rows than the %d that one step takes",
					n_batch);
		s->n_rows += s->items[i].n;
	}
	return rc;
}

/* Gives back what take_pages() took: sessions have not moved, so their reach says what they had. */
static void return_pages(struct step *s, int n_items)
{
	int i;

	for (i = 0; i < n_items; i++) {
		struct sherd_session *session = s->items[i].session;

		sherd_kv_table_shrink(&session->table, &s->m->pool, sherd_session_reach(session));
	}
}

static int take_pages(struct step *s)
{
	int i, rc;

	for (i = 0; i < s->n_items; i++) {
		const struct sherd_item *it = &s->items[i];

		rc = sherd_kv_table_grow(&it->session->table, &s->m->pool, item_pos(s, it) + it->n);
		if (rc) {
			return_pages(s, i);
			return sherd_fail(
				s->err, rc,
				"the KV cache is full: its %d pages of %d positions are in use "
				"by sessions; free or truncate one",
				s->m->pool.n_pages, SHERD_PAGE);
		}
	}
	return 0;
}

static int grow_scratch(struct step *s, int stride)
{
	struct sherd_step_scratch *x = &s->m->scratch;
	size_t n = (size_t)s->n_items * stride;

	if (n > x->pages_cap) {
		free(x->pages);
		x->pages = sherd_calloc(n, sizeof(*x->pages));
		x->pages_cap = x->pages ? n : 0;
		if (!x->pages)
			return sherd_fail_oom(s->err, n * sizeof(*x->pages),
					      "a step's page tables");
	}
	n = (size_t)s->m->info.n_batch * s->m->info.hidden;
	if (s->first && !x->hidden) {
		x->hidden = sherd_calloc(n, sizeof(float));
		if (!x->hidden)
			return sherd_fail_oom(s->err, n * sizeof(float), "a step's hidden rows");
	}
	return 0;
}

static void flatten_item(struct step *s, int i, int row, int stride)
{
	struct sherd_step_scratch *x = &s->m->scratch;
	const struct sherd_item *it = &s->items[i];
	int k, pos = item_pos(s, it);

	x->item_row[i] = row;
	x->cut_layers[i] = it->session->cuts;
	x->wire[i] = it->session->wire;
	x->wired[i] = s->first && it->wired;
	x->out[i] = it->out;
	memcpy(x->pages + (size_t)i * stride, it->session->table.pages,
	       it->session->table.n * sizeof(*x->pages));
	for (k = 0; k < it->n; k++) {
		x->pos[row + k] = pos + k;
		x->last[row + k] = pos + (s->m->info.encoder ? it->n - 1 : k);
		x->item[row + k] = i;
		if (it->want == SHERD_WANT_ALL || (it->want == SHERD_WANT_LAST && k == it->n - 1))
			x->wanted[s->n_wanted++] = row + k;
	}
	if (s->first)
		memcpy(x->hidden + (size_t)row * s->m->info.hidden, it->hidden,
		       (size_t)it->n * s->m->info.hidden * sizeof(float));
	else
		memcpy(x->tokens + row, it->tokens, it->n * sizeof(*x->tokens));
}

static void flatten(struct step *s, struct sherd_work *w)
{
	struct sherd_step_scratch *x = &s->m->scratch;
	const int *layer_op = s->m->program->layer_op;
	int stride = w->pages_stride, row = 0, i;

	for (i = 0; i < s->n_items; i++) {
		flatten_item(s, i, row, stride);
		row += s->items[i].n;
	}
	x->item_row[i] = row;
	*w = (struct sherd_work){
		.n_rows = row,
		.n_items = s->n_items,
		.n = s->m->n_steps,
		.first_op = layer_op[s->first],
		.end_op = s->end == s->m->info.n_layers ? s->m->program->n_ops : layer_op[s->end],
		.tokens = s->first ? NULL : x->tokens,
		.hidden = s->first ? x->hidden : NULL,
		.pos = x->pos,
		.last = x->last,
		.item = x->item,
		.item_row = x->item_row,
		.pages = x->pages,
		.pages_stride = stride,
		.wanted = x->wanted,
		.n_wanted = s->n_wanted,
		.cut_layers = x->cut_layers,
		.wire = x->wire,
		.first_layer = s->first,
		.wired = x->wired,
		.out = s->items[0].out ? x->out : NULL,
	};
}

/* The executor has succeeded: positions and histories move. */
static void advance(struct step *s)
{
	int i, k, l;

	for (i = 0; i < s->n_items; i++) {
		const struct sherd_item *it = &s->items[i];
		struct sherd_session *session = it->session;
		int pos = item_pos(s, it);

		for (k = 0; k < it->n; k++) {
			if (it->tokens)
				session->tokens[pos + k] = it->tokens[k];
			else if (pos + k >= session->n_tokens)
				session->tokens[pos + k] = -1;
		}
		session->n_tokens = MAX(session->n_tokens, pos + it->n);
		for (l = s->first; l < s->end; l++)
			session->layer_pos[l - s->m->info.first_layer] = pos + it->n;
	}
}

static int run_step(struct sherd_model *m, const struct sherd_item *items, int n_items,
		    int first_layer, int end_layer, struct sherd_rows *rows,
		    struct sherd_error *err)
{
	struct step s = { .m = m, .items = items, .n_items = n_items, .first = first_layer,
			  .end = end_layer, .err = err };
	struct sherd_work w = { .pages_stride = DIV_ROUND_UP(m->info.n_ctx, SHERD_PAGE) };
	const float *data = NULL;
	int rc;

	if (rows)
		memset(rows, 0, sizeof(*rows));
	rc = check_batch(&s);
	if (!rc)
		rc = grow_scratch(&s, w.pages_stride);
	if (!rc)
		rc = take_pages(&s);
	if (rc)
		return rc;
	flatten(&s, &w);
	rc = m->exec->ops->run(m->exec, &w, &data, err);
	if (rc) {
		return_pages(&s, n_items);
		return rc;
	}
	advance(&s);
	if (rows) {
		rows->data = data;
		rows->n_rows = s.n_wanted;
		rows->row_len = s.end == m->info.n_layers && !m->info.encoder ? m->info.n_vocab :
										m->info.hidden;
	}
	return 0;
}

/* Items are the caller's, and where they begin is another place afterwards: it is looked up before. */
static void describe(struct sherd_trace_step *t, const struct sherd_model *m,
		     const struct sherd_item *items, int n_items, int first, int end)
{
	*t = (struct sherd_trace_step){
		.begin = sherd_trace_begin(),
		.items = n_items,
		.position = n_items > 0 ? sherd_session_pos(items[0].session) : 0,
		.first_layer = end ? first : m->info.first_layer,
		.end_layer = end ? end : m->info.end_layer,
	};
	for (int i = 0; i < n_items; i++)
		t->rows += items[i].n;
	SHERD_PROBE(step__begin, t->rows, t->items, t->first_layer, t->end_layer);
}

static void tell(struct sherd_trace_step *t, const struct sherd_model *m, int rc)
{
	SHERD_PROBE(step__end, t->rows, -rc);
	if (!sherd_tracing())
		return;
	t->end = sherd_now();
	t->n = m->n_steps;
	t->kv_bytes = m->info.kv_bytes / m->pool.n_pages * (m->pool.n_pages - m->pool.n_free);
	t->failed = rc != 0;
	sherd_trace->step(sherd_trace, t);
}

int sherd_step(struct sherd_model *m, const struct sherd_item *items, int n_items, int first_layer,
	       int end_layer, struct sherd_rows *rows, struct sherd_error *err)
{
	bool watched = sherd_tracing() || SHERD_PROBED(step__begin) || SHERD_PROBED(step__end);
	struct sherd_trace_step t;
	int rc;

	if (!watched)
		return run_step(m, items, n_items, first_layer, end_layer, rows, err);
	describe(&t, m, items, n_items, first_layer, end_layer);
	rc = run_step(m, items, n_items, first_layer, end_layer, rows, err);
	tell(&t, m, rc);
	return rc;
}
