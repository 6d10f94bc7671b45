/* SPDX-License-Identifier: MIT */
/*
 * test_neighbour: whoever claims to be the stage before, over a real socket, with and without TLS. A board
 * serves a stage that was routed to it; then somebody dials and says what is not so: another model, other
 * layers, another bit profile, another epoch, another run, a certificate of the authority's that is not
 * the stage's before. Each is refused with the sentence that says which, the link ends, and who really is
 * the stage before is welcome as before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "net/board.h"
#include "net/message.h"
#include "net/tls_rig.h"

#define HASH  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define BITS  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* a fake stage's */
#define RUN   "0123456789abcdef0123456789abcdef"

enum { FIRST = 4, END = BOARD_LAYERS, EPOCH = 5, STAGE = 2 };

/* What one link of ours has heard. */
struct voice {
	struct sherd_hello hello;
	struct sherd_link *link; /* NULL: down */
	struct sherd_loop *loop; /* stopped by whatever is heard */
	bool up, welcome, refused, again;
	int n_replies;
	struct sherd_reply reply;
	char said[SHERD_SENTENCE_MAX]; /* REFUSE */
	struct sherd_error why; /* it is down */
};

static void on_up(void *ctx, struct sherd_link *l)
{
	struct voice *v = ctx;

	v->up = true;
	sherd_hello_send(l, &v->hello);
}

static int on_expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     struct sherd_error *err)
{
	(void)ctx, (void)l, (void)f, (void)err;
	return 0;
}

static void on_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     const uint8_t *payload)
{
	struct voice *v = ctx;
	struct sherd_error err;

	(void)l;
	v->welcome |= f->type == SHERD_FRAME_WELCOME;
	if (f->type == SHERD_FRAME_REFUSE) {
		v->refused = true;
		v->again = f->flags & SHERD_FRAME_AGAIN;
		sherd_sentence_read(v->said, sizeof(v->said), payload, f->payload);
	}
	if (f->type == SHERD_FRAME_REPLY) {
		if (sherd_reply_read(&v->reply, payload, f->payload, &err))
			fail_msg("%s", err.msg);
		v->n_replies++;
	}
	sherd_loop_stop(v->loop);
}

static void on_down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct voice *v = ctx;

	(void)l;
	v->link = NULL;
	v->why = *why;
	sherd_loop_stop(v->loop);
}

static const struct sherd_link_user voice_user = { on_up, on_expect, on_frame, on_down };

/* ------------------------------------------------------------------ a rig */

struct rig {
	struct board board;
	struct sherd_tls_ctx *tls[4]; /* of board, head, the stage before, somebody else; or NULL */
	struct sherd_loop *head_loop, *loops[2]; /* the stage before's, somebody else's */
	struct voice head, before;
};
enum { BOARD, HEAD, BEFORE, ELSE };

static const char *const names[] = { "hall", "head", "kitchen", "attic" };

static void dial(struct voice *v, struct sherd_loop *loop, const struct board *b)
{
	struct sherd_error err;

	v->loop = loop;
	if (loop->net.ops->dial(&loop->net, b->address, b->name, &voice_user, v, &v->link, &err))
		fail_msg("%s", err.msg);
}

static void run_once(struct sherd_loop *loop)
{
	struct sherd_error err;

	if (sherd_loop_run(loop, &err))
		fail_msg("%s", err.msg);
}

static void command(struct rig *r, const struct sherd_command *c)
{
	int before = r->head.n_replies;

	sherd_command_send(r->head.link, c);
	while (r->head.link && r->head.n_replies == before)
		run_once(r->head_loop);
	assert_non_null(r->head.link);
	if (r->head.reply.error[0])
		fail_msg("%s", r->head.reply.error);
}

static void lead(struct rig *r, bool exact)
{
	struct sherd_command load = { .kind = SHERD_COMMAND_LOAD, .id = 1, .stage = STAGE,
				      .spec = { .first = FIRST, .end = END, .n_ctx = 64,
						.n_sessions = 2, .n_batch = 16, .model = HASH } };
	struct sherd_command route = { .kind = SHERD_COMMAND_ROUTE, .id = 2, .stage = STAGE,
				       .epoch = EPOCH, .chunk = 8, .window = 32, .exact = exact };

	r->head = (struct voice){ .hello = { .role = SHERD_ROLE_HEAD, .run = RUN } };
	dial(&r->head, r->head_loop, &r->board);
	while (r->head.link && !r->head.welcome)
		run_once(r->head_loop);
	if (!r->head.welcome)
		fail_msg("%s %s", r->head.said, r->head.why.msg);
	snprintf(route.previous, sizeof(route.previous), "%s", names[BEFORE]);
	command(r, &load);
	command(r, &route);
}

static struct sherd_loop *new_loop(struct sherd_tls_ctx *tls)
{
	const struct sherd_loop_params p = { .tls = tls };
	struct sherd_loop *l;
	struct sherd_error err;

	if (sherd_loop_create(&l, &p, &err))
		fail_msg("%s", err.msg);
	return l;
}

static struct rig *start(bool tls, bool exact)
{
	struct rig *r = test_calloc(1, sizeof(*r)); /* what fails leaves a thread behind */

	for (int i = 0; i < 4 && tls; i++)
		r->tls[i] = open_ctx(ours, names[i]);
	snprintf(r->board.name, sizeof(r->board.name), "%s", names[BOARD]);
	r->board.tls = r->tls[BOARD];
	board_begin(&r->board);
	r->head_loop = new_loop(r->tls[HEAD]);
	r->loops[0] = new_loop(r->tls[BEFORE]);
	r->loops[1] = new_loop(r->tls[ELSE]);
	lead(r, exact);
	return r;
}

static void finish(struct rig *r)
{
	sherd_loop_free(r->head_loop);
	sherd_loop_free(r->loops[0]);
	sherd_loop_free(r->loops[1]);
	board_end(&r->board);
	for (int i = 0; i < 4; i++)
		sherd_tls_ctx_free(r->tls[i]);
	test_free(r);
}

static struct sherd_hello right(void)
{
	struct sherd_hello h = { .role = SHERD_ROLE_DATA, .run = RUN, .epoch = EPOCH,
				 .stage = STAGE, .model = HASH, .bit_profile = BITS,
				 .layer = FIRST };

	return h;
}

/* ------------------------------------------------------------------ cases */

static void refused(struct rig *r, struct sherd_loop *loop, const struct sherd_hello *h, bool again,
		    const char *words)
{
	struct voice v = { .hello = *h };

	dial(&v, loop, &r->board);
	while (v.link)
		run_once(loop);
	if (!v.refused || v.welcome || v.again != again || !strstr(v.said, words))
		fail_msg("not \"%s\"%s, but \"%s\"%s%s; %s", words, again ? " for now" : "", v.said,
			 v.again ? " for now" : "", v.welcome ? " and welcome" : "", v.why.msg);
}

static void welcome(struct rig *r, struct sherd_loop *loop)
{
	struct voice v = { .hello = right() };

	dial(&v, loop, &r->board);
	while (v.link && !v.welcome)
		run_once(loop);
	if (!v.welcome)
		fail_msg("%s %s", v.said, v.why.msg);
	sherd_link_hang_up(v.link, "enough");
	while (v.link)
		run_once(loop);
}

static void each_lie_is_named(struct rig *r, bool exact)
{
	struct sherd_loop *l = r->loops[0];
	struct sherd_hello h = right();

	welcome(r, l);
	memcpy(h.model, OTHER, sizeof(h.model));
	refused(r, l, &h, false, "its model is another one");
	h = right();
	h.layer = FIRST - 1;
	refused(r, l, &h, false, "its layers do not end where these begin");
	h.layer = FIRST + 1;
	refused(r, l, &h, false, "its layers do not end where these begin");
	h = right();
	h.epoch = EPOCH - 1;
	refused(r, l, &h, false, "a later epoch has begun");
	h.epoch = EPOCH + 1;
	refused(r, l, &h, true, "this epoch has not begun here yet");
	h = right();
	h.stage = STAGE + 1;
	refused(r, l, &h, true, "this epoch has not begun here yet");
	h = right();
	h.run[31] = '0';
	refused(r, l, &h, true, "this epoch has not begun here yet");
	h = right();
	h.bit_profile[0] = 'b';
	if (exact)
		refused(r, l, &h, false, "its bit profile is another one");
	h.bit_profile[0] = '\0';
	if (exact)
		refused(r, l, &h, false, "its bit profile is another one");
	welcome(r, l);
}

static void a_stage_before_that_is_another_is_refused_with_why(void **state)
{
	(void)state;
	for (int exact = 0; exact < 2; exact++) {
		struct rig *r = start(false, exact);

		each_lie_is_named(r, exact);
		finish(r);
	}
}

static void the_same_over_tls(void **state)
{
	struct rig *r = start(true, true);

	(void)state;
	each_lie_is_named(r, true);
	finish(r);
}

static void a_certificate_of_another_node_of_the_authority_is_none_of_the_stage_before(void **state)
{
	struct rig *r = start(true, true);
	struct sherd_hello h = right(), head = { .role = SHERD_ROLE_HEAD, .run = RUN };

	(void)state;
	refused(r, r->loops[1], &h, false, "its certificate is not that of the stage before");
	refused(r, r->head_loop, &h, false, "its certificate is not that of the stage before");
	refused(r, r->loops[0], &head, false, "the certificate is that of 'kitchen'");
	welcome(r, r->loops[0]);
	finish(r);
}

/* Where the head is the stage before, it has to be the head, whether its commands' link is there or not. */
static void the_first_stage_takes_rows_of_the_head_alone(void **state)
{
	struct sherd_command route = { .kind = SHERD_COMMAND_ROUTE, .id = 3, .stage = STAGE,
				       .epoch = EPOCH + 1, .chunk = 8, .window = 32 };
	struct rig *r = start(true, false);
	struct sherd_hello h = right();

	(void)state;
	h.epoch = EPOCH + 1;
	command(r, &route);
	for (int i = 0; i < 2; i++) {
		refused(r, r->loops[1], &h, false, "its certificate is not that of the stage before");
		if (!r->head.link)
			break;
		sherd_link_hang_up(r->head.link, "the head is away");
		while (r->head.link)
			run_once(r->head_loop);
	}
	finish(r);
}

static int make_cluster(void **state)
{
	struct sherd_error err;

	rng = tiny_seed();
	if (scratch_make(state))
		return -1;
	snprintf(ours, sizeof(ours), "%s/ours", dir);
	return sherd_ca_init(ours, names, 4, 30, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stage_before_that_is_another_is_refused_with_why),
		cmocka_unit_test(the_same_over_tls),
		cmocka_unit_test(
			a_certificate_of_another_node_of_the_authority_is_none_of_the_stage_before),
		cmocka_unit_test(the_first_stage_takes_rows_of_the_head_alone),
	};

	return cmocka_run_group_tests_name("neighbour", tests, make_cluster, scratch_remove);
}
