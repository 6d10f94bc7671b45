/* SPDX-License-Identifier: MIT */
/*
 * node_work: what is computed next. A step takes the oldest chunk of every session that has one, of
 * all runs, until it is full: decoding sessions share it, and a prompt's chunk goes along. The next
 * one begins with the first session for which there was no room, so that all have their turn; if
 * there was room for everybody, behind the last one.
 *
 * It also knows how long a step of its size should take, by those before: a device that hangs is
 * noticed by that, while the process is in the best of health.
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/node_post.h"

/*
 * Overdue is what takes three times as long as the slowest of the last steps of its size. Where few
 * such are known, ten times, and at least a second; where none are, by steps of other sizes.
 */
#define OVERDUE		   3
#define OVERDUE_LEAST_US   100000u
#define HISTORY_LEAST	   8
#define GUESS		   10
#define GUESS_LEAST_US	   1000000u
#define GUESS_BY_NOTHING_US 10000000u

/*
 * Ten times overdue is what never ends. Time in which the process itself stood still does not
 * count, so looks are counted, and not what the clock says.
 */
#define HUNG	10
#define LOOK_US 1000000u

static int bucket(int rows)
{
	int b = 0;

	while (b < STEP_BUCKETS - 1 && rows > 1 << b)
		b++;
	return b;
}

static uint32_t slowest(const struct worker *w, int b)
{
	uint32_t n = MIN(w->n_took[b], STEP_HISTORY), us = 0;

	for (uint32_t i = 0; i < n; i++)
		us = MAX(us, w->took[b][i]);
	return us;
}

/* The slowest step of another size, as if it had grown with its rows; 0: there is none. */
static uint64_t guess(const struct worker *w, int b)
{
	uint64_t us = 0;

	for (int i = 0; i < STEP_BUCKETS; i++)
		us = MAX(us, (uint64_t)slowest(w, i) << (b > i ? b - i : 0));
	return us;
}

/* Microseconds after which a step of @rows rows is overdue. */
static uint64_t due(const struct worker *w, int rows)
{
	int b = bucket(rows);
	uint64_t us;

	if (w->n_took[b] >= HISTORY_LEAST)
		return MAX(OVERDUE * (uint64_t)slowest(w, b), OVERDUE_LEAST_US);
	us = guess(w, b);
	return us ? MAX(GUESS * us, GUESS_LEAST_US) : GUESS_BY_NOTHING_US;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(const struct worker *w)
{
	uint32_t sorted[STEP_HISTORY];
	uint32_t n = MIN(w->n_took[0], STEP_HISTORY);

	if (!n)
		return 0;
	memcpy(sorted, w->took[0], n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_number);
	return sorted[n / 2];
}

void sherd_worker_progress(const struct worker *w, struct sherd_progress *p)
{
	uint64_t now = sherd_net_now(w->node->net);
	const struct flow *f;
	const struct chunk *c;

	*p = (struct sherd_progress){
		.steps = w->steps,
		.rows = w->rows,
		.busy_us = w->step_rows ? MAX(now - w->step_began, 1) : 0,
		.due_us = w->step_rows ? w->step_due : 0,
		.step_us = median(w),
		.work_us = w->work_us,
	};
	for (f = w->flows; f; f = f->worker_next)
		for (c = f->first; c; c = c->next)
			p->queued += (uint64_t)c->n;
}

bool sherd_worker_overdue(const struct worker *w)
{
	return w->looks;
}

static const char *overdue_text(const struct worker *w, char text[160])
{
	uint64_t took = sherd_net_now(w->node->net) - w->step_began;

	snprintf(text, 160,
		 "layers %d to %d: a step has been running for %.1f s, and was due after %.1f: "
		 "the device seems to hang",
		 w->spec.first, w->spec.end - 1, (double)took * 1e-6, (double)w->step_due * 1e-6);
	return text;
}

/* The heads need not ask to learn that a step is overdue. */
static void tell_heads(const struct worker *w)
{
	struct run *r;
	struct post *p;

	for (r = w->node->runs; r; r = r->next)
		for (p = r->posts; p; p = p->next)
			if (p->worker == w) {
				sherd_node_pong(r);
				break;
			}
}

static void overdue(void *ctx)
{
	struct worker *w = ctx;
	const struct sherd_node_params *p = &w->node->p;
	char why[160];

	if (!w->looks++)
		tell_heads(w);
	if (!p->hung)
		return;
	if (w->step_due + (w->looks - 1) * (uint64_t)LOOK_US < MAX(HUNG * w->step_due, p->hung_us))
		sherd_timer_after(w->node->net, &w->overdue, LOOK_US);
	else
		p->hung(p->ctx, overdue_text(w, why));
}

static void account(struct worker *w)
{
	uint64_t took = sherd_net_now(w->node->net) - w->step_began;
	int b = bucket(w->step_rows);

	w->took[b][w->n_took[b]++ % STEP_HISTORY] = (uint32_t)MIN(took, UINT32_MAX);
	w->steps++;
	w->work_us += w->step.ended_us - w->step.started_us;
	w->rows += (uint64_t)w->step_rows;
	w->step_rows = 0;
	w->looks = 0;
	sherd_timer_stop(w->node->net, &w->overdue);
}

static void stepped(void *ctx, struct sherd_job *job)
{
	struct worker *w = ctx;
	int n = job->n_items, i;

	account(w);
	for (i = 0; i < n; i++)
		sherd_flow_done(w->item_flows[i], w->item_chunks[i], &w->items[i]);
	sherd_worker_kick(w);
}

static void take(struct worker *w, struct flow *f)
{
	struct chunk *c = sherd_flow_take(f);
	int i = w->step.n_items++;

	f->in_step = (uint32_t)c->n;
	w->step_rows += c->n;
	w->item_flows[i] = f;
	w->item_chunks[i] = c;
	w->items[i] = (struct sherd_job_item){
		.session = f->for_stage.id,
		.position = c->position,
		.n = c->n,
		.tokens = c->ids,
		.rows = c->rows,
		.want = c->want && !f->out.row_bytes,
		.out = sherd_journal_room(&f->out, &f->post->hop, (uint32_t)c->n),
	};
}

static struct flow *after(const struct worker *w, const struct flow *f)
{
	return f->worker_next ? f->worker_next : w->flows;
}

/* Nobody waits for it any more: its turn is another session's. */
static bool is_too_late(const struct worker *w, struct flow *f)
{
	uint64_t now = sherd_net_now(w->node->net);
	char why[96];

	if (!f->out.deadline || now <= f->out.deadline)
		return false;
	snprintf(why, sizeof(why), "the request's time was over %.1f s ago",
		 (double)(now - f->out.deadline) * 1e-6);
	sherd_flow_fail(f, why);
	return true;
}

static bool waits(const struct flow *f)
{
	return f->first && !f->in_step && f->state == FLOW_OPEN;
}

void sherd_worker_kick(struct worker *w)
{
	struct flow *f = w->turn ? w->turn : w->flows, *begin = f, *left = NULL;

	if (w->step_rows || w->state != WORKER_READY || !f)
		return;
	w->step = (struct sherd_job){
		.kind = SHERD_JOB_STEP, .items = w->items, .done = stepped, .ctx = w
	};
	do {
		if (waits(f) && f->first->n > w->stage->info.n_batch - w->step_rows) {
			left = left ? left : f;
		} else if (waits(f) && !is_too_late(w, f)) {
			take(w, f);
			w->turn = after(w, f);
		}
		f = after(w, f);
	} while (f != begin && w->step.n_items < w->stage->info.n_batch);
	if (left)
		w->turn = left;
	if (!w->step.n_items)
		return;
	w->step_began = sherd_net_now(w->node->net);
	w->step_due = due(w, w->step_rows);
	sherd_timer_after(w->node->net, &w->overdue, w->step_due);
	w->stage->ops->submit(w->stage, &w->step);
}

/* ------------------------------------------------- coming and going ---- */

void sherd_worker_add(struct worker *w, struct flow *f)
{
	f->worker = w;
	f->worker_next = w->flows;
	w->flows = f;
	w->refs++;
}

void sherd_worker_remove(struct flow *f)
{
	struct worker *w = f->worker;
	struct flow **at = &w->flows;

	if (w->turn == f)
		w->turn = f->worker_next; /* NULL: from the beginning */
	while (*at != f)
		at = &(*at)->worker_next;
	*at = f->worker_next;
	f->worker = NULL;
	sherd_worker_put(w);
}

static void free_worker(struct worker *w)
{
	struct worker **at = &w->node->workers;

	sherd_timer_stop(w->node->net, &w->overdue);
	if (w->stage)
		w->stage->ops->put(w->stage);
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w->items);
	free(w->item_flows);
	free(w->item_chunks);
	free(w);
}

void sherd_worker_put(struct worker *w)
{
	if (!--w->refs)
		free_worker(w);
}

void sherd_worker_destroy(struct worker *w)
{
	int i;

	w->refs++;
	w->stage->ops->put(w->stage); /* first: it may be reading what goes now */
	w->stage = NULL;
	for (i = 0; w->step_rows && i < w->step.n_items; i++)
		sherd_chunk_free(w->item_chunks[i]);
	while (w->flows)
		sherd_flow_free(w->flows);
	free_worker(w);
}

/* How large a step may be is known when the stage is loaded. */
static int make_room(struct worker *w, struct sherd_error *err)
{
	size_t n = (size_t)w->stage->info.n_batch;

	w->items = sherd_calloc(n, sizeof(*w->items));
	w->item_flows = sherd_calloc(n, sizeof(struct flow *));
	w->item_chunks = sherd_calloc(n, sizeof(struct chunk *));
	if (w->items && w->item_flows && w->item_chunks)
		return 0;
	return sherd_fail_oom(err, n * sizeof(*w->items), "a stage's steps");
}

static void loaded(void *ctx, struct sherd_job *job)
{
	struct worker *w = ctx;

	if (job->rc)
		w->err = job->err;
	w->state = job->rc || make_room(w, &w->err) ? WORKER_BROKEN : WORKER_READY;
	sherd_node_loaded(w);
	sherd_worker_put(w);
}

static int new_worker(struct sherd_node *n, const struct sherd_stage_spec *spec,
		      struct worker **worker, struct sherd_error *err)
{
	struct worker *w = sherd_calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return sherd_fail_oom(err, sizeof(*w), "a stage");
	rc = n->p.source.get(n->p.source.ctx, spec, &w->stage, err);
	if (rc) {
		free(w);
		return rc;
	}
	w->node = n;
	w->spec = *spec;
	w->overdue = (struct sherd_timer){ .fire = overdue, .ctx = w };
	w->next = n->workers;
	n->workers = w;
	w->refs = 2; /* the caller, and the job */
	w->state = WORKER_LOADING;
	w->load = (struct sherd_job){ .kind = SHERD_JOB_LOAD, .done = loaded, .ctx = w };
	w->stage->ops->submit(w->stage, &w->load);
	*worker = w;
	return 0;
}

bool sherd_spec_equal(const struct sherd_stage_spec *a, const struct sherd_stage_spec *b)
{
	return !strcmp(a->model, b->model) && a->bits == b->bits && a->first == b->first &&
	       a->end == b->end && a->n_ctx == b->n_ctx && a->n_sessions == b->n_sessions &&
	       a->n_batch == b->n_batch && a->kv == b->kv;
}

int sherd_worker_get(struct sherd_node *n, const struct sherd_stage_spec *spec, struct worker **w,
		     struct sherd_error *err)
{
	char why[160];

	for (*w = n->workers; *w; *w = (*w)->next)
		if ((*w)->state != WORKER_BROKEN && sherd_spec_equal(&(*w)->spec, spec))
			break;
	if (!*w)
		return new_worker(n, spec, w, err);
	if (sherd_worker_overdue(*w)) /* who comes now would wait in vain */
		return sherd_fail(err, -EBUSY, "%s", overdue_text(*w, why));
	(*w)->refs++;
	return 0;
}
