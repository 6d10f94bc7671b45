/* SPDX-License-Identifier: MIT */
/*
 * node_status: how a node is doing, as JSON, for `sherd status` and for whoever collects numbers.
 */
#include <jansson.h>
#include <stdlib.h>
#include "net/node_post.h"

static json_t *link_json(const struct peer *p)
{
	const struct sherd_link *l = p ? p->link : NULL;

	if (!l)
		return json_null();
	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "address",
			 l->address, "name", l->identity, "greeted", p->greeted, "frames_in",
			 (json_int_t)l->frames_in, "frames_out", (json_int_t)l->frames_out,
			 "bytes_in", (json_int_t)l->bytes_in, "bytes_out", (json_int_t)l->bytes_out,
			 "queued", (json_int_t)l->net->ops->queued(l), "zero_copies",
			 (json_int_t)l->zero_copies, "copies", (json_int_t)l->copies, "rtt_us",
			 (json_int_t)p->rtt_us);
}

static json_t *sessions_json(const struct post *p)
{
	static const char *const states[] = { "opening", "open", "failed" };
	json_t *list = json_array();
	const struct flow *f;

	for (f = p->flows; f; f = f->next)
		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:I, s:I}", "state", states[f->state],
						"computed", (json_int_t)f->out.n, "received",
						(json_int_t)f->received, "max",
						(json_int_t)f->session.max));
	return list;
}

static int by_time(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Of steps of each size how long the last ones took: a tenth less, half, and nine tenths. */
static json_t *took_json(const struct worker *w)
{
	uint32_t us[STEP_HISTORY];
	json_t *list = json_array();

	for (int b = 0; b < STEP_BUCKETS; b++) {
		uint32_t n = MIN(w->n_took[b], STEP_HISTORY);

		if (!n)
			continue;
		memcpy(us, w->took[b], n * sizeof(*us));
		qsort(us, n, sizeof(*us), by_time);
		json_array_append_new(list,
				      json_pack("{s:i, s:I, s:I, s:I, s:I}", "rows", 1 << b, "n",
						(json_int_t)n, "low_us", (json_int_t)us[n / 10],
						"us", (json_int_t)us[n / 2], "high_us",
						(json_int_t)us[9 * n / 10]));
	}
	return list;
}

static json_t *post_json(const struct post *p)
{
	static const char *const states[] = { "new", "loading", "ready", "broken" };
	const struct worker *w = p->worker;
	struct sherd_progress now;

	sherd_worker_progress(w, &now);
	return json_pack(
		"{s:I, s:I, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
		"stage", (json_int_t)p->number, "epoch", (json_int_t)p->epoch, "state",
		sherd_worker_overdue(w) ? "hangs" : states[w->state], "first", w->spec.first, "end",
		w->spec.end, "steps", (json_int_t)now.steps, "rows", (json_int_t)now.rows,
		"busy_us", (json_int_t)now.busy_us, "due_us", (json_int_t)now.due_us, "queued",
		(json_int_t)now.queued, "step_us", (json_int_t)now.step_us, "work_us",
		(json_int_t)now.work_us, "up", link_json(p->up), "down", link_json(p->down),
		"sessions", sessions_json(p), "took", took_json(w));
}

/* Of the runs that were served by what hangs none may be left. */
static json_t *overdue_json(const struct sherd_node *n)
{
	json_t *list = json_array();
	struct sherd_progress now;

	for (const struct worker *w = n->workers; w; w = w->next) {
		if (!sherd_worker_overdue(w))
			continue;
		sherd_worker_progress(w, &now);
		json_array_append_new(list, json_pack("{s:i, s:i, s:I, s:I}", "first",
						      w->spec.first, "end", w->spec.end, "busy_us",
						      (json_int_t)now.busy_us, "due_us",
						      (json_int_t)now.due_us));
	}
	return list;
}

struct json_t *sherd_node_status(const struct sherd_node *n)
{
	json_t *runs = json_array();
	const struct run *r;
	const struct post *p;

	for (r = n->runs; r; r = r->next) {
		json_t *stages = json_array();

		for (p = r->posts; p; p = p->next)
			json_array_append_new(stages, post_json(p));
		json_array_append_new(runs,
				      json_pack("{s:b, s:s, s:o}", "headless", !r->control, "head",
						r->control ? r->control->link->address : "",
						"stages", stages));
	}
	return json_pack("{s:s, s:s, s:o, s:o}", "name", n->p.name, "version", SHERD_VERSION,
			 "runs", runs, "overdue", overdue_json(n));
}

bool sherd_node_overdue(const struct sherd_node *n)
{
	for (const struct worker *w = n->workers; w; w = w->next)
		if (sherd_worker_overdue(w))
			return true;
	return false;
}

int sherd_node_sessions(const struct sherd_node *n)
{
	int count = 0;

	for (const struct run *r = n->runs; r; r = r->next)
		for (const struct post *p = r->posts; p; p = p->next)
			for (const struct flow *f = p->flows; f; f = f->next)
				count++;
	return count;
}
