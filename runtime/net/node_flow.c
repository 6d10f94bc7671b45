/* SPDX-License-Identifier: MIT */
/*
 * node_flow: a session at a post, from its OPEN to its end. It ends when the stage has let go of
 * it: what is being computed is waited for, then the stage closes it, then its memory goes. The
 * stage is told at once, so that whatever is opened later finds the room.
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/node_post.h"

struct flow *sherd_flow_find(struct post *p, uint64_t id)
{
	struct flow *f;

	for (f = p->flows; f; f = f->next)
		if (f->session.id == id && !f->closing)
			return f;
	return NULL;
}

void sherd_chunk_free(struct chunk *c)
{
	if (!c)
		return;
	free(c->ids);
	free(c->rows);
	free(c);
}

static void drop_chunks(struct flow *f)
{
	struct chunk *c;

	while ((c = f->first)) {
		f->first = c->next;
		sherd_chunk_free(c);
	}
	f->last = NULL;
}

void sherd_flow_free(struct flow *f)
{
	sherd_worker_remove(f);
	drop_chunks(f);
	sherd_journal_destroy(&f->out);
	sherd_stage_session_free(&f->session);
	free(f);
}

static void unlink_from_post(struct flow *f)
{
	struct flow **at = &f->post->flows;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	f->post = NULL;
}

static void closed(void *ctx, struct sherd_job *job)
{
	(void)job;
	sherd_flow_free(ctx);
}

/* Jobs are done in order: a step that is under way first, whose rows lie in the journal. */
static void close_at_stage(struct flow *f)
{
	f->job = (struct sherd_job){
		.kind = SHERD_JOB_CLOSE, .id = f->for_stage.id, .done = closed, .ctx = f
	};
	f->worker->stage->ops->submit(f->worker->stage, &f->job);
}

void sherd_flow_orphan(struct flow *f)
{
	unlink_from_post(f);
	f->closing = true;
	drop_chunks(f);
	if (!f->opening)
		close_at_stage(f);
}

void sherd_flow_close(struct flow *f)
{
	const struct post *p = f->post;
	const struct sherd_frame close = { .type = SHERD_FRAME_CLOSE, .session = f->session.id,
					   .epoch = p->epoch, .stage = p->number };

	if (p->hop.link)
		sherd_link_send(p->hop.link, &close, NULL, 0);
	sherd_flow_orphan(f);
}

void sherd_flow_fail(struct flow *f, const char *sentence)
{
	f->state = FLOW_FAILED;
	snprintf(f->why, sizeof(f->why), "%s", sentence);
	drop_chunks(f);
	sherd_journal_empty(&f->out);
	sherd_post_repeat(f);
}

/* How far it has got: what has been computed, or after an OPEN, from where on rows are wanted. */
static void tell_have(const struct flow *f, uint32_t position)
{
	const struct post *p = f->post;
	const struct sherd_frame have = { .type = SHERD_FRAME_HAVE,
					  .session = f->session.id,
					  .epoch = p->epoch,
					  .stage = p->number,
					  .position = position };

	if (p->up && f->announced)
		sherd_link_send(p->up->link, &have, NULL, 0);
}

void sherd_flow_rewind(struct flow *f)
{
	drop_chunks(f);
	f->received = f->out.n + f->in_step;
}

static void opened(void *ctx, struct sherd_job *job)
{
	struct flow *f = ctx;

	f->opening = false;
	if (f->closing) {
		close_at_stage(f);
		return;
	}
	if (job->rc) {
		sherd_flow_fail(f, job->err.msg);
	} else {
		f->state = FLOW_OPEN;
		sherd_post_announce(f);
	}
	tell_have(f, f->received);
}

static int check_cuts(const struct flow *f, const struct sherd_stage_info *info,
		      struct sherd_error *err)
{
	int i;

	if (!info->first)
		return 0;
	for (i = 0; i < f->session.params.n_cuts; i++)
		if (f->session.params.cuts[i] == info->first)
			return 0;
	return sherd_fail(err, -EPROTO,
			  "the session has no cut before layer %d, where rows come in",
			  info->first);
}

/* They are sent all the same, and copied. */
static void say_unfit(struct post *p, size_t row)
{
	const struct sherd_node_params *n = &p->run->node->p;
	size_t size = sherd_rows_bytes(p->hop.chunk, row);
	char text[160];

	if (!row || p->unfit || !n->note || !n->slots || size <= sherd_slots_size(n->slots))
		return;
	p->unfit = true;
	snprintf(text, sizeof(text),
		 "chunks of %u rows, %zu KiB, do not fit into the ring's slots of %zu: longer "
		 "parts of a prompt are copied",
		 p->hop.chunk, DIV_ROUND_UP(size, 1024), sherd_slots_size(n->slots) / 1024);
	n->note(n->ctx, text);
}

static int fill_flow(struct flow *f, struct post *p, const struct sherd_frame *frame,
		     const uint8_t *payload, struct sherd_error *err)
{
	const struct sherd_stage_info *info = &p->worker->stage->info;
	bool last = sherd_post_is_last(p);
	size_t row;
	int rc = sherd_open_read(&f->session, frame->session, payload, frame->payload,
				 info->n_layers, err);

	rc = rc ? rc : check_cuts(f, info, err);
	if (rc)
		return rc;
	if (f->session.max > (uint32_t)info->n_ctx)
		return sherd_fail(err, -EPROTO,
				  "the session is to have %u positions, and %d are the most",
				  f->session.max, info->n_ctx);
	row = info->row_bytes[f->session.params.wire];
	f->row_bytes = info->first ? row : 0;
	say_unfit(p, last ? 0 : row);
	return sherd_journal_init(&f->out, frame->session, payload, frame->payload, f->session.max,
				  last ? 0 : row, err);
}

/*
 * Sessions that the stage has no room for are kept until they are closed, and closed ones until the
 * stage gets to it: neither may be without end.
 */
static int check_number(const struct post *p, struct sherd_error *err)
{
	int most = SHERD_MAX_SESSIONS(p->worker->spec.n_sessions), open = 0, closing = 0;
	const struct flow *f;

	for (f = p->flows; f; f = f->next)
		open++;
	for (f = p->worker->flows; f; f = f->worker_next)
		closing += f->closing;
	if (open < most && closing < most)
		return 0;
	return sherd_fail(err, -EPROTO,
			  "%d sessions are here and %d are being closed: %d of each are the most",
			  open, closing, most);
}

static int new_flow(struct post *p, const struct sherd_frame *frame, const uint8_t *payload,
		    struct sherd_error *err)
{
	struct flow *f;
	int rc = check_number(p, err);

	if (rc)
		return rc;
	f = sherd_calloc(1, sizeof(*f));
	if (!f)
		return sherd_fail_oom(err, sizeof(*f), "a session");
	rc = fill_flow(f, p, frame, payload, err);
	if (rc) {
		sherd_stage_session_free(&f->session);
		free(f);
		return rc;
	}
	f->post = p;
	f->announced = true;
	f->next = p->flows;
	p->flows = f;
	sherd_worker_add(p->worker, f);
	f->opening = true;
	f->for_stage = f->session;
	f->for_stage.id = ++p->run->node->last_session;
	f->job = (struct sherd_job){
		.kind = SHERD_JOB_OPEN, .session = &f->for_stage, .done = opened, .ctx = f
	};
	p->worker->stage->ops->submit(p->worker->stage, &f->job);
	return 0;
}

int sherd_flow_open(struct post *p, const struct sherd_frame *frame, const uint8_t *payload,
		    struct sherd_error *err)
{
	struct flow *f = sherd_flow_find(p, frame->session);

	if (!f)
		return new_flow(p, frame, payload, err);
	if (frame->payload != f->out.open_size || memcmp(payload, f->out.open, frame->payload))
		return sherd_fail(err, -EPROTO, "session %llx is open already, and is another one",
				  (unsigned long long)frame->session);
	f->announced = true;
	if (f->state != FLOW_OPENING)
		tell_have(f, f->received); /* else when it is open */
	return 0;
}

static struct chunk *new_chunk(const struct flow *f, const struct sherd_frame *frame,
			       const uint8_t *payload)
{
	struct chunk *c = sherd_calloc(1, sizeof(*c));
	uint32_t n = frame->n_tokens, i;

	if (!c)
		return NULL;
	c->position = frame->position;
	c->n = (int)n;
	c->want = frame->flags & SHERD_FRAME_WANT;
	c->ids = sherd_calloc(n, sizeof(*c->ids));
	if (f->row_bytes)
		c->rows = sherd_alloc_aligned(SHERD_FRAME_ALIGN,
					      ROUND_UP(n * f->row_bytes, SHERD_FRAME_ALIGN), 1);
	if (!c->ids || (f->row_bytes && !c->rows)) {
		sherd_chunk_free(c);
		return NULL;
	}
	for (i = 0; i < n; i++)
		c->ids[i] = (int32_t)((uint32_t)payload[4 * i] | (uint32_t)payload[4 * i + 1] << 8 |
				      (uint32_t)payload[4 * i + 2] << 16 |
				      (uint32_t)payload[4 * i + 3] << 24);
	if (c->rows)
		memcpy(c->rows, payload + sherd_rows_offset(n), n * f->row_bytes);
	return c;
}

int sherd_flow_rows(struct flow *f, const struct sherd_frame *frame, const uint8_t *payload,
		    struct sherd_error *err)
{
	struct chunk *c;

	f->received += frame->n_tokens;
	f->out.deadline = frame->deadline_ms ? sherd_net_now(f->worker->node->net) +
						       frame->deadline_ms * 1000ull :
					       0;
	if (f->state == FLOW_FAILED)
		return 0;
	c = new_chunk(f, frame, payload);
	if (!c)
		return sherd_fail_oom(err, frame->payload, "rows");
	if (f->last)
		f->last->next = c;
	else
		f->first = c;
	f->last = c;
	sherd_worker_kick(f->worker);
	return 0;
}

struct chunk *sherd_flow_take(struct flow *f)
{
	struct chunk *c = f->first;

	f->first = c->next;
	if (!f->first)
		f->last = NULL;
	c->next = NULL;
	return c;
}

void sherd_flow_done(struct flow *f, struct chunk *c, const struct sherd_job_item *item)
{
	f->in_step = 0;
	if (f->closing || item->rc)
		sherd_journal_forget(&f->out);
	if (f->closing) {
		sherd_chunk_free(c); /* the stage is closing it */
		return;
	}
	if (item->rc) {
		sherd_flow_fail(f, item->err.msg);
		sherd_chunk_free(c);
		return;
	}
	memcpy(sherd_journal_ids(&f->out), c->ids, c->n * sizeof(*c->ids));
	sherd_journal_grow(&f->out, (uint32_t)c->n, c->want);
	/*
	 * Whoever waits for the rows first: links are flushed in this order, and each takes a
	 * system call.
	 */
	if (!sherd_post_is_last(f->post)) {
		sherd_journal_send(&f->out, &f->post->hop);
		sherd_journal_forget(&f->out);
	} else if (c->want) {
		f->token = item->token;
		f->token_position = f->out.n;
		sherd_post_tell(f);
	}
	tell_have(f, f->out.n);
	sherd_chunk_free(c);
}
