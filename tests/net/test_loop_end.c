/* SPDX-License-Identifier: MIT */
/* A link's end: it is told once at each side, and done() comes once, whatever has happened. */
#include <unistd.h>
#include "net/io.h"
#include "proxy.h"
#include "rig.h"

#define BIG (1u << 20)

static void a_hundred_frames(struct end *e)
{
	for (int i = 0; i < 100; i++)
		rig_send(e, i, i);
}

static void send_large(struct end *e)
{
	for (int i = 0; i < 20; i++)
		rig_send_kept(e, 100000, i);
}

static void nothing_read(struct end *e)
{
	send_large(e);
	rig_send_kept(e, 4 * BIG, 7);
	rig_send_kept(e, 10, 8);
}

static void payloads_are_done_once_when(struct rig *r, int how)
{
	struct linger now = { .l_onoff = 1 };
	int fd;

	r->n_done = 0;
	r->params.hang_up_ms = 50;
	r->params.zc_bytes = 1000;
	r->like.on_up = nothing_read;
	rig_start(r);
	fd = rig_connect(r);
	rig_run_ms(r, 20);
	assert_true(r->n_done < 22);
	switch (how) {
	case 0: /* this side hangs up, the other does not read */
		sherd_link_hang_up(r->ends[0].link, "bored");
		rig_send_kept(&r->ends[0], 100, 9);
		r->n_done--;
		rig_run(r, rig_first_is_down);
		assert_string_equal(r->ends[0].why.msg, "bored");
		break;
	case 1: /* a reset */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
		rig_run(r, rig_first_is_down);
		/*
		 * the kernel says so once, to a send or to a receive, which may be the one that is
		 * not asked for it
		 */
		if (!strstr(r->ends[0].why.msg, "the other side hung up"))
			ASSERT_SAYS(r->ends[0].why, "the connection is lost: ");
		fd = -1;
		break;
	case 2: /* half-closed */
		shutdown(fd, SHUT_WR);
		rig_run(r, rig_first_is_down);
		ASSERT_SAYS(r->ends[0].why, "the other side hung up");
		break;
	}
	rig_end(r);
	assert_int_equal(r->n_done, 22);
	if (fd >= 0)
		close(fd);
}

static void payloads_are_done_once_in_every_ending(struct rig *r)
{
	struct rig fresh = *r;

	for (int how = 0; how < 4; how++) {
		*r = fresh;
		payloads_are_done_once_when(r, how);
	}
}

static void last_words(struct end *e)
{
	rig_send(e, 3000, 5);
	sherd_link_hang_up(e->link, "refused");
}

static void flood(struct end *e)
{
	for (int i = 0; i < 10; i++)
		rig_send(e, 100000, i);
}

static bool one_frame_and_down(struct rig *r)
{
	return r->a.down && rig_first_is_down(r);
}

static void last_words_arrive_though_the_other_side_goes_on_talking(struct rig *r)
{
	r->a.on_up = flood;
	r->a.on_frame = rig_check;
	r->like.on_up = last_words;
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_run(r, one_frame_and_down);
	assert_int_equal(r->a.frames, 1);
	assert_string_equal(r->ends[0].why.msg, "refused");
	rig_end(r);
}

/* ------------------------------------------------ hanging up in every callback */

static void hang_up_now(struct end *e)
{
	sherd_link_hang_up(e->link, "in a callback");
	sherd_link_hang_up(e->link, "twice");
	assert_int_equal(e->down, 0);
	rig_send(e, 10, 1);
}

static int hang_up_expect(struct end *e, const struct sherd_frame *f, struct sherd_error *err)
{
	(void)f, (void)err;
	hang_up_now(e);
	return 0;
}

static void hang_up_frame(struct end *e, const struct sherd_frame *f, const uint8_t *payload)
{
	rig_check(e, f, payload);
	hang_up_now(e);
}

static void send_in_down(struct end *e)
{
	rig_send(e, 100, 1);
	rig_send_kept(e, 100, 1);
	sherd_link_hang_up(e->link, "in down");
}

static void two_frames(struct end *e)
{
	rig_send(e, 100, 1);
	rig_send(e, 100, 2);
}

static void done_hangs_up(void *arg)
{
	hang_up_now(arg);
}

static void send_and_hang_up_when_done(struct end *e)
{
	static const uint8_t zero[10];
	const struct sherd_frame f = { .type = SHERD_FRAME_PING };
	const struct sherd_payload p = {
		.data = zero, .size = 10, .slot = -1, .done = done_hangs_up, .arg = e
	};

	e->r->net->ops->send(e->link, &f, &p);
}

static void timer_hangs_up(void *ctx)
{
	hang_up_now(ctx);
}

static struct sherd_timer hang_timer;

static void hang_up_by_timer(struct end *e)
{
	hang_timer = (struct sherd_timer){ .fire = timer_hangs_up, .ctx = e };
	sherd_timer_after(e->r->net, &hang_timer, 1000);
}

static void hanging_up_works_in_every_callback(struct rig *r)
{
	struct rig fresh = *r;

	for (int where = 0; where < 7; where++) {
		*r = fresh;
		r->a.on_up = two_frames;
		if (where == 0)
			r->a.on_up = hang_up_now;
		else if (where == 1)
			r->like.on_up = hang_up_now;
		else if (where == 2)
			r->like.on_expect = hang_up_expect;
		else if (where == 3)
			r->like.on_frame = hang_up_frame;
		else if (where == 4)
			r->on_accepted = hang_up_now;
		else if (where == 5)
			r->like.on_up = send_and_hang_up_when_done;
		else
			r->like.on_up = hang_up_by_timer;
		r->a.on_down = r->like.on_down = send_in_down;
		rig_start(r);
		rig_dial(r, &r->a, r->at);
		rig_run(r, rig_both_down);
		assert_int_equal(r->n_done, 2);
		assert_string_equal((where ? r->ends[0] : r->a).why.msg, "in a callback");
		if (where < 5)
			assert_int_equal(r->ends[0].frames, where == 3);
		rig_end(r);
	}
}

/* --------------------------------------------------------- a faulty network */

static void a_damaged_byte_takes_the_link_down(struct rig *r)
{
	struct proxy_params p = { .there = { .corrupt = 1 + rand() % 600 } };
	const char *why;
	struct proxy *x;
	char at[64];

	r->a.on_up = a_hundred_frames;
	r->like.on_frame = rig_check;
	rig_start(r);
	p.to = r->at;
	x = proxy_start(&p, at, &why);
	assert_non_null(x);
	rig_dial(r, &r->a, at);
	rig_run(r, rig_both_down);
	assert_in_range(r->ends[0].frames, 0, 6);
	rig_end(r);
	proxy_stop(x);
}

static void a_link_cut_or_reset_on_its_way_goes_down_at_both_ends(struct rig *r)
{
	struct rig fresh = *r;

	for (int reset = 0; reset < 2; reset++) {
		struct proxy_params p = { .there = { .piece = 100 } };
		const char *why;
		struct proxy *x;
		char at[64];

		*r = fresh;
		*(reset ? &p.there.reset : &p.there.cut) = 1 + rand() % 5000;
		r->a.on_up = a_hundred_frames;
		r->like.on_frame = rig_check;
		rig_start(r);
		p.to = r->at;
		x = proxy_start(&p, at, &why);
		assert_non_null(x);
		rig_dial(r, &r->a, at);
		rig_run(r, rig_none_is_left);
		rig_end(r);
		proxy_stop(x);
	}
}

static void a_link_goes_down_while_the_network_is_silent_only_when_told(struct rig *r)
{
	struct proxy_params p = { .blackhole = true };
	const char *why;
	struct proxy *x;
	char at[64];

	r->a.on_up = a_hundred_frames;
	r->params.hang_up_ms = 30;
	rig_start(r);
	p.to = r->at;
	x = proxy_start(&p, at, &why);
	assert_non_null(x);
	rig_dial(r, &r->a, at);
	rig_run_ms(r, 60);
	assert_int_equal(r->a.up, 1);
	assert_int_equal(r->a.down, 0);
	sherd_link_hang_up(r->a.link, "given up");
	rig_run(r, rig_a_is_down);
	assert_string_equal(r->a.why.msg, "given up");
	proxy_break(x, PROXY_RESET);
	rig_run(r, rig_none_is_left);
	rig_end(r);
	proxy_stop(x);
}

static void freeing_the_loop_takes_links_down(struct rig *r)
{
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_run(r, rig_both_up);
	nothing_read(&r->a);
	rig_end(r);
	assert_int_equal(r->a.down, 1);
	assert_int_equal(r->n_done, 22);
	memset(&r->a, 0, sizeof(r->a));
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_end(r);
	assert_int_equal(r->a.down, 1);
}

static const struct rig_case cases[] = {
	CASE(payloads_are_done_once_in_every_ending),
	CASE(last_words_arrive_though_the_other_side_goes_on_talking),
	CASE(hanging_up_works_in_every_callback),
	CASE(a_damaged_byte_takes_the_link_down),
	CASE(a_link_cut_or_reset_on_its_way_goes_down_at_both_ends),
	CASE(a_link_goes_down_while_the_network_is_silent_only_when_told),
	CASE(freeing_the_loop_takes_links_down),
};

int main(int argc, char **argv)
{
	return rig_run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
