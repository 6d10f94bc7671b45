/* SPDX-License-Identifier: MIT */
/*
 * fuzz_message: any bytes as the rare frames' payloads; the first byte says which. What is taken is
 * within the limits that messages have, and is the same message when it was sent and read again;
 * what is not, is refused with a sentence.
 */
#include <stdlib.h>
#include <utf8proc.h>
#include "net/message.h"
#include "net/push.h"

#define N_LAYERS 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
	if (!right)
		abort();
}

/* Fit to be shown, wherever it comes from. */
static void check_text(const char *s)
{
	const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)s;
	utf8proc_int32_t c;

	while (*at) {
		utf8proc_ssize_t n = utf8proc_iterate(at, -1, &c);

		check(n > 0 && c >= ' ' && (c < 0x7f || c > 0x9f));
		at += n;
	}
}

/* A link that keeps what was sent last. */
struct ear {
	struct sherd_net net;
	struct sherd_link link;
	char *text;
	uint32_t size;
};

static void hear(struct sherd_link *l, const struct sherd_frame *f, const struct sherd_payload *p)
{
	struct ear *e = l->ctx;

	(void)f;
	free(e->text);
	e->text = malloc(p->size + 1);
	check(e->text);
	memcpy(e->text, p->data, p->size);
	e->text[p->size] = '\0';
	e->size = p->size;
}

static void hung_up(struct sherd_link *l, const char *why)
{
	(void)l;
	(void)why;
	abort(); /* what could be read can be said */
}

static const struct sherd_net_ops ops = { .send = hear, .hang_up = hung_up };

/* Each reads; if that went well it says what it has read. */
static int hello(struct ear *e, const uint8_t *p, size_t n, struct sherd_error *err)
{
	struct sherd_hello h;
	int rc = sherd_hello_read(&h, p, n, err);

	if (rc)
		return rc;
	check(strlen(h.run) == SHERD_RUN_ID - 1 || !h.run[0]);
	check(h.layer >= 0 && h.layer <= UINT16_MAX);
	sherd_hello_send(&e->link, &h);
	return 0;
}

static int command(struct ear *e, const uint8_t *p, size_t n, struct sherd_error *err)
{
	struct sherd_command c;
	int rc = sherd_command_read(&c, p, n, err);

	if (rc)
		return rc;
	if (c.kind == SHERD_COMMAND_LOAD)
		check(c.spec.first >= 0 && c.spec.first < c.spec.end && c.spec.n_batch >= 1 &&
		      c.spec.n_ctx >= 1 && c.spec.n_sessions >= 1);
	if (c.kind == SHERD_COMMAND_ROUTE)
		check(c.chunk >= 1 && c.window >= 1 && c.epoch >= 1);
	if (c.kind == SHERD_COMMAND_OFFER) {
		check(sherd_file_name_ok(c.offer.name) && c.offer.size);
		sherd_offer_send(&e->link, c.id, &c.offer);
	} else {
		sherd_command_send(&e->link, &c);
	}
	return 0;
}

static int reply(struct ear *e, const uint8_t *p, size_t n, struct sherd_error *err)
{
	struct sherd_reply r;
	int rc = sherd_reply_read(&r, p, n, err);

	if (rc)
		return rc;
	check_text(r.error);
	sherd_reply_send(&e->link, &r);
	return 0;
}

static int open_(struct ear *e, const uint8_t *p, size_t n, struct sherd_error *err)
{
	struct sherd_stage_session s;
	int rc = sherd_open_read(&s, 7, p, n, N_LAYERS, err), i;

	if (rc)
		return rc;
	check(s.max && s.params.wire <= SHERD_WIRE_F32);
	for (i = 0; i < s.params.n_cuts; i++)
		check(s.params.cuts[i] >= 1 && s.params.cuts[i] < N_LAYERS);
	free(e->text);
	e->text = sherd_open_text(&s);
	check(e->text);
	e->size = (uint32_t)strlen(e->text);
	sherd_stage_session_free(&s);
	return 0;
}

/* Any bytes of that length are one: how it is getting on is for people. */
static void progress(const uint8_t *p, size_t n)
{
	uint8_t again[SHERD_PROGRESS_BYTES];
	struct sherd_progress x;

	if (n < sizeof(again))
		return;
	sherd_progress_read(&x, p);
	sherd_progress_write(&x, again);
	check(!memcmp(p, again, sizeof(again)));
}

/* The first byte is how much room there is. */
static void sentence(const uint8_t *p, size_t n)
{
	size_t room = n ? 1 + p[0] : 1;
	char *to = malloc(room);

	check(to);
	sherd_sentence_read(to, room, p, n);
	check(strnlen(to, room) < room);
	check_text(to);
	free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const readers[])(struct ear *, const uint8_t *, size_t,
				      struct sherd_error *) = { hello, command, reply, open_ };
	struct ear e = { .net = { .ops = &ops }, .link = { .net = &e.net, .ctx = &e } };
	struct sherd_error err = { "" };
	unsigned which = size ? data[0] % (ARRAY_SIZE(readers) + 2) : 0;
	char *first;
	uint32_t n;

	if (!size || size > SHERD_MESSAGE_MAX)
		return 0;
	if (which == ARRAY_SIZE(readers)) {
		progress(data + 1, size - 1);
		return 0;
	}
	if (which > ARRAY_SIZE(readers)) {
		sentence(data + 1, size - 1);
		return 0;
	}
	if (readers[which](&e, data + 1, size - 1, &err)) {
		check(err.msg[0]);
		return 0;
	}
	first = e.text;
	n = e.size;
	e.text = NULL;
	check(!readers[which](&e, (const uint8_t *)first, n, &err));
	check(e.size == n && !memcmp(e.text, first, n));
	free(first);
	free(e.text);
	return 0;
}
