/* SPDX-License-Identifier: MIT */
/* ask: see ask.h; node_probe.c is the other side. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "net/ask.h"

#define SILENCE_US 10000000u /* on a board whose only core measures, and over slow lines */

struct sherd_ask {
	struct sherd_ask_params p;
	struct sherd_link *link;
	bool greeted, ended;
	bool waiting; /* for an answer */
	struct sherd_command question; /* to be sent when greeted: with */
	uint64_t heard, until;
	struct sherd_timer timer;
};

static void end(struct sherd_ask *a, const struct sherd_error *why)
{
	if (a->ended)
		return;
	a->ended = true;
	sherd_timer_stop(a->p.net, &a->timer);
	if (a->link)
		sherd_link_hang_up(a->link, why->msg);
	a->p.ended(a->p.ctx, why);
}

static void give_up(struct sherd_ask *a, const char *why)
{
	struct sherd_error err;

	sherd_fail(&err, -EIO, "%s", why);
	end(a, &err);
}

static void send(struct sherd_ask *a)
{
	sherd_command_send(a->link, &a->question);
	json_decref(a->question.with);
	a->question.with = NULL;
}

void sherd_ask(struct sherd_ask *a, enum sherd_command_kind kind, struct json_t *with,
	       uint64_t patience_us)
{
	a->waiting = true;
	a->until = sherd_net_now(a->p.net) + patience_us;
	a->question.kind = kind;
	a->question.id++;
	json_decref(a->question.with);
	a->question.with = with;
	if (a->greeted && a->link && !a->ended)
		send(a);
}

/* ------------------------------------------------------------- the link */

static void up(void *ctx, struct sherd_link *l)
{
	const struct sherd_hello h = { .role = SHERD_ROLE_MEASURE };

	(void)ctx;
	sherd_hello_send(l, &h);
}

static int expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  struct sherd_error *err)
{
	const struct sherd_ask *a = ctx;
	bool ok = false;

	(void)l;
	if (f->type == SHERD_FRAME_WELCOME)
		ok = !a->greeted && f->payload <= SHERD_HELLO_MAX;
	else if (f->type == SHERD_FRAME_REFUSE)
		ok = f->payload < SHERD_SENTENCE_MAX;
	else if (f->type == SHERD_FRAME_PONG)
		ok = a->greeted && !f->payload;
	else if (f->type == SHERD_FRAME_REPLY)
		ok = a->greeted && a->waiting && f->payload <= SHERD_MESSAGE_MAX;
	return ok ? 0 : sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected",
				   sherd_frame_name(f->type), f->payload);
}

static void replied(struct sherd_ask *a, const struct sherd_frame *f, const uint8_t *payload)
{
	json_error_t e;
	json_t *j = json_loadb((const char *)payload, f->payload, JSON_REJECT_DUPLICATES, &e);

	if (!json_is_object(j)) {
		json_decref(j);
		give_up(a, "its answer is no JSON");
		return;
	}
	a->waiting = false;
	a->p.answered(a->p.ctx, j);
}

static void frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  const uint8_t *payload)
{
	struct sherd_ask *a = ctx;
	char said[400], why[SHERD_SENTENCE_MAX];

	(void)l;
	if (a->ended)
		return;
	a->heard = sherd_net_now(a->p.net);
	if (f->type == SHERD_FRAME_WELCOME) {
		a->greeted = true;
		if (a->waiting)
			send(a);
	} else if (f->type == SHERD_FRAME_REFUSE) {
		sherd_sentence_read(said, sizeof(said), payload, f->payload);
		snprintf(why, sizeof(why), "it refuses: %s", said);
		give_up(a, why);
	} else if (f->type == SHERD_FRAME_REPLY) {
		replied(a, f, payload);
	}
}

static void down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct sherd_ask *a = ctx;

	(void)l;
	a->link = NULL;
	end(a, why);
}

static void beat(void *ctx)
{
	const struct sherd_frame ping = { .type = SHERD_FRAME_PING };
	struct sherd_ask *a = ctx;
	uint64_t now = sherd_net_now(a->p.net);

	if (now - a->heard > (a->greeted ? SILENCE_US : SHERD_GREETING_US)) {
		give_up(a, "nothing comes over the link");
	} else if (a->waiting && now > a->until) {
		give_up(a, "it does not answer in time");
	} else {
		if (a->greeted)
			sherd_link_send(a->link, &ping, NULL, 0);
		sherd_timer_after(a->p.net, &a->timer, SHERD_BEAT_US);
	}
}

int sherd_ask_new(struct sherd_ask **ask, const struct sherd_ask_params *params,
		  struct sherd_error *err)
{
	static const struct sherd_link_user user = { up, expect, frame, down };
	struct sherd_ask *a = sherd_calloc(1, sizeof(*a));
	struct sherd_net *net = params->net;
	int rc;

	*ask = NULL;
	if (!a)
		return sherd_fail_oom(err, sizeof(*a), "a question");
	a->p = *params;
	a->heard = sherd_net_now(net);
	a->timer = (struct sherd_timer){ .fire = beat, .ctx = a };
	rc = net->ops->dial(net, params->address, params->name, &user, a, &a->link, err);
	if (rc) {
		free(a);
		return rc;
	}
	sherd_timer_after(net, &a->timer, SHERD_BEAT_US);
	*ask = a;
	return 0;
}

void sherd_ask_free(struct sherd_ask *a)
{
	if (!a)
		return;
	sherd_timer_stop(a->p.net, &a->timer);
	if (a->link) {
		a->link->user = &sherd_deaf;
		sherd_link_hang_up(a->link, "nothing more is asked");
	}
	json_decref(a->question.with);
	free(a);
}

/* ---------------------------------------------------- questions, answers */

bool sherd_answer_failed(const json_t *answer, struct sherd_error *why)
{
	const json_t *error = json_object_get(answer, "error");
	char said[400] = "it says that there is an error, and not which";

	if (!error)
		return false;
	if (json_is_string(error))
		sherd_sentence_read(said, sizeof(said), json_string_value(error),
				    json_string_length(error));
	sherd_fail(why, -EIO, "%s", said);
	return true;
}

json_t *sherd_ask_link(const char *name, const char *address)
{
	return json_pack("{s:s, s:s}", "name", name, "address", address);
}

int sherd_answer_link(json_t *answer, double *mbit, double *rtt_us, struct sherd_error *err)
{
	json_int_t id;
	json_error_t e;

	if (json_unpack_ex(answer, &e, 0, "{s:I, s:F, s:F !}", "id", &id, "mbit", mbit, "rtt_us",
			   rtt_us))
		return sherd_fail(err, -EPROTO, "an answer: %s", e.text);
	if (!(*mbit > 0 && *mbit <= 1e7) || !(*rtt_us > 0 && *rtt_us <= 1e8))
		return sherd_fail(err, -EPROTO, "a link of %g Mbit/s and %g us is none", *mbit,
				  *rtt_us);
	return 0;
}
