/* SPDX-License-Identifier: MIT */
/*
 * head_session: tokens out to the first stage, tokens in from the last. The head's half of a hop is
 * the same journal that stages have, with token ids alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/head_plan.h"

#define REDIAL_US 20000u

static struct head_session *find(struct sherd_head *h, uint64_t id)
{
	struct head_session *s;

	for (s = h->sessions; s; s = s->next)
		if (s->out.session == id)
			return s;
	return NULL;
}

bool sherd_head_waiting(const struct sherd_head *h)
{
	const struct head_session *s;

	for (s = h->sessions; s; s = s->next)
		if (s->waiting)
			return true;
	return false;
}

/* -------------------------------------------------- the first stage's link */

static void up(void *ctx, struct sherd_link *l)
{
	const struct sherd_head *h = ctx;
	struct sherd_hello hello = { .role = SHERD_ROLE_DATA, .epoch = h->epoch, .stage = 1 };

	memcpy(hello.run, h->p.run, sizeof(hello.run));
	memcpy(hello.model, h->p.model, sizeof(hello.model));
	sherd_hello_send(l, &hello);
}

static int expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  struct sherd_error *err)
{
	const struct sherd_head *h = ctx;
	bool greeted = h->hop.link == l;

	if (greeted && f->type == SHERD_FRAME_PONG && !f->payload)
		return 0;
	if (greeted && f->type == SHERD_FRAME_HAVE && !f->payload && f->epoch == h->epoch)
		return 0;
	if (!greeted && f->type == SHERD_FRAME_WELCOME && f->payload <= SHERD_HELLO_MAX)
		return 0;
	if (!greeted && f->type == SHERD_FRAME_REFUSE && f->payload < SHERD_SENTENCE_MAX)
		return 0;
	return sherd_fail(err, -EPROTO,
			  "a %s frame of %u bytes is not expected from the first stage",
			  sherd_frame_name(f->type), f->payload);
}

static void welcomed(struct sherd_head *h)
{
	const struct sherd_frame all = { .type = SHERD_FRAME_ALL_OPEN, .epoch = h->epoch };
	struct head_session *s;

	h->hop.link = h->data;
	for (s = h->sessions; s; s = s->next)
		sherd_journal_announce(&s->out, &h->hop);
	sherd_link_send(h->data, &all, NULL, 0);
}

static void refused(struct sherd_head *h, const struct sherd_frame *f, const uint8_t *payload)
{
	char said[SHERD_SENTENCE_MAX], why[SHERD_SENTENCE_MAX + 64];

	sherd_sentence_read(said, sizeof(said), payload, f->payload);
	snprintf(why, sizeof(why), "the first stage refuses: %s", said);
	sherd_link_hang_up(h->data, why);
	if (!(f->flags & SHERD_FRAME_AGAIN))
		sherd_head_fail(h, why);
}

static void frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  const uint8_t *payload)
{
	struct sherd_head *h = ctx;
	struct head_session *s;
	struct sherd_error err;

	h->data_heard = sherd_net_now(h->net);
	if (f->type == SHERD_FRAME_WELCOME) {
		welcomed(h);
	} else if (f->type == SHERD_FRAME_REFUSE) {
		refused(h, f, payload);
	} else if (f->type == SHERD_FRAME_HAVE) {
		s = find(h, f->session);
		if (s && sherd_journal_have(&s->out, f->position, &err))
			sherd_link_hang_up(l, err.msg);
		else if (s)
			sherd_journal_send(&s->out, &h->hop);
	}
}

static void down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct sherd_head *h = ctx;

	(void)l;
	(void)why;
	h->data = NULL;
	h->hop.link = NULL;
	sherd_timer_after(h->net, &h->redial, REDIAL_US);
}

static const struct sherd_link_user links = { up, expect, frame, down };

void sherd_head_data_dial(struct sherd_head *h)
{
	const struct sherd_head_node *first = h->stages[0].node->plan;
	struct sherd_error err;

	h->data_heard = sherd_net_now(h->net);
	h->hop.epoch = h->epoch;
	h->hop.chunk = (uint32_t)h->p.chunk;
	h->hop.window = (uint32_t)h->p.window;
	if (!h->net->ops->dial(h->net, first->address, first->name, &links, h, &h->data, &err))
		return;
	h->data = NULL;
	sherd_timer_after(h->net, &h->redial, REDIAL_US);
}

void sherd_head_data_beat(struct sherd_head *h)
{
	const struct sherd_frame ping = { .type = SHERD_FRAME_PING };
	uint64_t silence = sherd_net_now(h->net) - h->data_heard;

	if (h->data && silence > (h->hop.link ? SHERD_SILENCE_US : SHERD_GREETING_US))
		sherd_link_hang_up(h->data, "nothing comes over the link");
	else if (h->hop.link)
		sherd_link_send(h->hop.link, &ping, NULL, 0);
}

void sherd_head_data_drop(struct sherd_head *h, const char *why)
{
	sherd_timer_stop(h->net, &h->redial);
	if (h->data) {
		h->data->user = &sherd_deaf;
		sherd_link_hang_up(h->data, why);
	}
	h->data = NULL;
	h->hop.link = NULL;
}

/* -------------------------------------------------------------- sessions */

int sherd_head_open(struct sherd_head *h, const struct sherd_stage_session *params, uint64_t *id,
		    struct sherd_error *err)
{
	int most = SHERD_MAX_SESSIONS(h->p.n_sessions), n = 0, rc;
	struct head_session *s;
	char *text;

	for (s = h->sessions; s; s = s->next)
		n++;
	if (n >= most)
		return sherd_fail(err, -ENOSPC, "%d sessions are open, and %d are the most", n,
				  most);
	if (params->max > (uint32_t)h->p.n_ctx)
		return sherd_fail(err, -ENOSPC,
				  "a session of %u positions does not fit the plan's context of %d",
				  params->max, h->p.n_ctx);
	s = sherd_calloc(1, sizeof(*s));
	text = sherd_open_text(params);
	if (!s || !text) {
		free(s);
		free(text);
		return sherd_fail_oom(err, sizeof(*s), "a session");
	}
	rc = sherd_journal_init(&s->out, h->last_session + 1, text, (uint32_t)strlen(text),
				params->max, 0, err);
	free(text);
	if (rc) {
		free(s);
		return rc;
	}
	*id = ++h->last_session;
	s->next = h->sessions;
	h->sessions = s;
	if (h->hop.link)
		sherd_journal_announce(&s->out, &h->hop);
	return 0;
}

int sherd_head_feed(struct sherd_head *h, uint64_t id, const int32_t *tokens, int n,
		    struct sherd_error *err)
{
	struct head_session *s = find(h, id);

	if (!s || n < 1)
		return sherd_fail(err, -EINVAL, "session %llu takes no tokens",
				  (unsigned long long)id);
	if ((uint32_t)n > s->out.max - s->out.n)
		return sherd_fail(err, -ENOSPC,
				  "the session is full: it has %u positions of %u, and %d more do "
				  "not fit",
				  s->out.n, s->out.max, n);
	if (!sherd_head_waiting(h))
		h->progress_at = sherd_net_now(h->net);
	if (s->out.deadline && sherd_net_now(h->net) > s->out.deadline)
		return sherd_fail(err, -ETIME, "the session's time of %.0f s is over",
				  (double)h->p.request_us * 1e-6);
	if (h->p.request_us && !s->out.deadline)
		s->out.deadline = sherd_net_now(h->net) + h->p.request_us;
	memcpy(sherd_journal_ids(&s->out), tokens, (size_t)n * sizeof(*tokens));
	sherd_journal_grow(&s->out, (uint32_t)n, true);
	s->waiting = true;
	sherd_journal_send(&s->out, &h->hop);
	return 0;
}

static void free_session(struct sherd_head *h, struct head_session *s)
{
	struct head_session **at = &h->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	sherd_journal_destroy(&s->out);
	free(s);
}

void sherd_head_close(struct sherd_head *h, uint64_t id)
{
	const struct sherd_frame close = { .type = SHERD_FRAME_CLOSE,
					   .session = id,
					   .epoch = h->epoch };
	struct head_session *s = find(h, id);

	if (!s)
		return;
	if (h->hop.link)
		sherd_link_send(h->hop.link, &close, NULL, 0);
	free_session(h, s);
}

void sherd_head_sessions_free(struct sherd_head *h)
{
	while (h->sessions)
		sherd_head_close(h, h->sessions->out.session);
}

void sherd_head_session_failed(struct sherd_head *h, uint64_t id, const char *node, const char *why)
{
	struct head_session *s = find(h, id);
	struct sherd_error err;

	sherd_fail(&err, -EIO, "%s: %s", node, why);
	if (!id) {
		sherd_head_fail(h, err.msg);
	} else if (s && s->waiting) {
		s->waiting = false;
		h->p.failed(h->p.ctx, id, &err);
	}
}

/*
 * A token that is known has come again: by a stage that took the place of another, or said once
 * more in case it was lost. It must be the same; what was fed in its place is no matter.
 */
static void compare(struct sherd_head *h, struct head_session *s, uint32_t position, int32_t token)
{
	struct sherd_error err;

	if (position != s->drawn_at || s->drawn == token || h->p.inexact)
		return;
	sherd_fail(&err, -EILSEQ,
		   "the stage that took over draws token %d at position %u, where it was %d: "
		   "its arithmetic is another one",
		   token, position, s->drawn);
	s->waiting = false;
	h->p.failed(h->p.ctx, s->out.session, &err);
}

void sherd_head_token(struct sherd_head *h, const struct sherd_frame *f, const uint8_t *payload)
{
	struct head_session *s = find(h, f->session);
	int32_t token = (int32_t)((uint32_t)payload[0] | (uint32_t)payload[1] << 8 |
				  (uint32_t)payload[2] << 16 | (uint32_t)payload[3] << 24);

	if (!s || !s->waiting || f->position > s->out.n)
		return;
	if (f->position < s->out.n) {
		compare(h, s, f->position, token);
		return;
	}
	s->waiting = false;
	s->drawn_at = f->position;
	s->drawn = token;
	h->progress_at = sherd_net_now(h->net);
	h->p.token(h->p.ctx, f->session, f->position, token);
}
