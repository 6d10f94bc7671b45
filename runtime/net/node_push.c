/* SPDX-License-Identifier: MIT */
/*
 * node_push: a node takes a file. Pieces are written in order by the store, and acknowledged when
 * they are; of the jobs that are under way a link keeps count, so that it ends when the last one is
 * done.
 */
#include <jansson.h>
#include <stdlib.h>
#include "net/node_post.h"
#include "net/push.h"

/* A link's transfer; outlives the link until the store has let go of it. */
struct push {
	struct peer *peer; /* NULL: the link is gone */
	struct sherd_store *store;
	struct sherd_offer offer;
	uint32_t id; /* of the offer */
	void *file; /* the store's; NULL: none is under way */
	uint64_t received, written; /* bytes */
	int jobs; /* under way */
	bool ending; /* FINISH or DROP is on its way, or was */
};

struct push_job {
	struct sherd_store_job job;
	struct push *push;
	uint8_t data[]; /* WRITE */
};

static void finished_with(struct push *t)
{
	if (!t->peer && !t->jobs)
		free(t);
}

static void done(void *ctx, struct sherd_store_job *job);

static int submit(struct push *t, enum sherd_store_kind kind, const void *data, size_t size)
{
	struct push_job *j = malloc(sizeof(*j) + size);

	if (!j)
		return -ENOMEM;
	j->job = (struct sherd_store_job){ .kind = kind,
					   .offer = t->offer,
					   .data = j->data,
					   .size = size,
					   .file = t->file,
					   .done = done,
					   .ctx = j };
	j->push = t;
	if (size)
		memcpy(j->data, data, size);
	t->jobs++;
	t->store->submit(t->store, &j->job);
	return 0;
}

static void reply(struct push *t, const struct sherd_store_job *job)
{
	struct sherd_reply r = { .id = t->id, .have = job->have, .whole = job->whole };

	if (job->rc)
		memcpy(r.error, job->err.msg, sizeof(r.error));
	if (t->peer)
		sherd_reply_send(t->peer->link, &r);
}

static void drop(struct push *t)
{
	if (t->file && !t->ending && !submit(t, SHERD_STORE_DROP, NULL, 0))
		t->ending = true;
}

static void offered(struct push *t, const struct sherd_store_job *job)
{
	t->file = job->rc || job->whole ? NULL : job->file;
	t->received = t->written = job->have;
	t->ending = false;
	if (!t->peer) {
		drop(t);
	} else if (job->rc == -EBUSY) {
		sherd_link_hang_up(t->peer->link, job->err.msg); /* it will come again */
	} else if (t->file && t->received == t->offer.size &&
		   !submit(t, SHERD_STORE_FINISH, NULL, 0)) {
		t->ending = true; /* all of it was there, and only the name lacked */
	} else {
		reply(t, job);
	}
}

static void written(struct push *t, const struct sherd_store_job *job)
{
	struct sherd_frame have = { .type = SHERD_FRAME_HAVE };

	if (job->rc) {
		if (!t->ending) /* those behind it fail, too */
			reply(t, job);
		drop(t);
		return;
	}
	t->written += job->size;
	have.session = t->written;
	if (!t->peer || t->ending)
		return;
	sherd_link_send(t->peer->link, &have, NULL, 0);
	if (t->written == t->offer.size && !submit(t, SHERD_STORE_FINISH, NULL, 0))
		t->ending = true;
}

static void done(void *ctx, struct sherd_store_job *job)
{
	struct push_job *j = ctx;
	struct push *t = j->push;

	t->jobs--;
	if (job->kind == SHERD_STORE_OFFER) {
		offered(t, job);
	} else if (job->kind == SHERD_STORE_WRITE) {
		written(t, job);
	} else {
		t->file = NULL;
		if (job->kind == SHERD_STORE_FINISH)
			reply(t, job);
	}
	free(j);
	finished_with(t);
}

void sherd_node_push_greet(struct peer *p)
{
	struct push *t;

	if (!p->node->p.store) {
		sherd_node_refuse(p, "this node takes no shards");
		return;
	}
	t = sherd_calloc(1, sizeof(*t));
	if (!t) {
		sherd_node_refuse(p, "no memory");
		return;
	}
	t->peer = p;
	t->store = p->node->p.store;
	p->push = t;
	p->kind = PEER_PUSH;
	p->greeted = true;
	sherd_welcome_send(p->link, p->node->p.name);
}

/* Whoever offers a file anew has lost the link over which it was coming. */
static void dismiss_older(const struct push *t)
{
	struct peer *p, *next;

	for (p = t->peer->node->peers; p; p = next) {
		next = p->next;
		if (p->push && p->push != t && !strcmp(p->push->offer.name, t->offer.name))
			sherd_node_dismiss(p, "the file is offered over another link");
	}
}

int sherd_node_push_expect(struct peer *p, const struct sherd_frame *f, struct sherd_error *err)
{
	const struct push *t = p->push;

	if (f->type == SHERD_FRAME_COMMAND && f->payload <= SHERD_MESSAGE_MAX && !t->file &&
	    !t->jobs)
		return 0;
	if (f->type == SHERD_FRAME_PING && !f->payload)
		return 0;
	if (f->type != SHERD_FRAME_FILE)
		return sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected now",
				  sherd_frame_name(f->type), f->payload);
	if (!t->file || t->ending || f->session != t->received || !f->payload ||
	    f->payload > SHERD_PUSH_PIECE || f->payload > t->offer.size - t->received)
		return sherd_fail(err, -EPROTO,
				  "%u bytes from %llu on, where byte %llu of %llu is due",
				  f->payload, (unsigned long long)f->session,
				  (unsigned long long)t->received,
				  (unsigned long long)t->offer.size);
	if (t->received - t->written >= SHERD_PUSH_WINDOW * SHERD_PUSH_PIECE)
		return sherd_fail(err, -EPROTO, "more bytes are under way than the window allows");
	return 0;
}

void sherd_node_push_frame(struct peer *p, const struct sherd_frame *f, const uint8_t *payload)
{
	struct push *t = p->push;
	const struct sherd_frame pong = { .type = SHERD_FRAME_PONG };
	struct sherd_command c;
	struct sherd_error err;
	int rc;

	if (f->type == SHERD_FRAME_PING) {
		sherd_link_send(p->link, &pong, NULL, 0);
		return;
	}
	if (f->type == SHERD_FRAME_COMMAND) {
		rc = sherd_command_read(&c, payload, f->payload, &err);
		if (!rc && c.kind != SHERD_COMMAND_OFFER)
			rc = sherd_fail(&err, -EPROTO, "who brings shards commands nothing");
		json_decref(c.with);
		t->offer = c.offer;
		t->id = c.id;
		if (!rc)
			dismiss_older(t);
		rc = rc ? rc : submit(t, SHERD_STORE_OFFER, NULL, 0);
	} else {
		t->received += f->payload;
		rc = submit(t, SHERD_STORE_WRITE, payload, f->payload);
	}
	if (rc == -ENOMEM)
		sherd_fail_oom(&err, f->payload, "a file's piece");
	if (rc)
		sherd_link_hang_up(p->link, err.msg);
}

void sherd_node_push_down(struct peer *p)
{
	struct push *t = p->push;

	p->push = NULL;
	t->peer = NULL;
	drop(t);
	finished_with(t);
}
