/* SPDX-License-Identifier: MIT */
/* What the loop does around TLS, seen through a filter in its place. */
#include <sys/socket.h>
#include <unistd.h>
#include "rig.h"
#include "xor_tls.h"

static void with_filter(struct rig *r, const char *name)
{
	r->params.tls = (struct sherd_tls_ctx *)name;
	r->params.tls_ops = &xor_tls;
}

static void a_few_frames(struct end *e)
{
	for (int i = 0; i < 30; i++)
		rig_send_kept(e, rand() % (i % 10 ? 3000 : 300000), i);
}

static bool thirty_each(struct rig *r)
{
	return r->a.frames == 30 && r->n_ends && r->ends[0].frames == 30;
}

static void frames_go_through_a_filter(struct rig *r)
{
	with_filter(r, "kitchen");
	r->a.on_up = r->like.on_up = a_few_frames;
	r->a.on_frame = r->like.on_frame = rig_check;
	r->params.socket_buffer = 40000;
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_run(r, thirty_each);
	assert_string_equal(r->a.link->identity, "kitchen");
	assert_string_equal(r->ends[0].link->identity, "kitchen");
	assert_int_equal(r->n_done, 60);
	assert_int_equal(r->net->ops->queued(r->a.link), 0);
	sherd_link_hang_up(r->a.link, "enough");
	rig_run(r, rig_none_is_left);
	ASSERT_SAYS(r->ends[0].why, "the other side hung up");
	rig_end(r);
}

static void who_fails_the_handshake_never_comes_up(struct rig *r)
{
	char alert[16] = "";
	int fd;

	with_filter(r, "kitchen");
	r->params.stranger_ms = 60;
	r->params.hang_up_ms = 50;
	rig_start(r);
	fd = rig_connect(r);
	assert_true(rig_write(fd, "GET /\n", 6));
	rig_run(r, rig_first_is_down);
	ASSERT_SAYS(r->ends[0].why, "no filter's name");
	assert_int_equal(recv(fd, alert, sizeof(alert), 0), strlen("@kitchen\n!"));
	assert_string_equal(alert, "@kitchen\n!");
	close(fd);
	fd = rig_connect(r); /* silence */
	while (r->n_ends < 2 || !r->ends[1].down)
		rig_run_ms(r, 5);
	ASSERT_SAYS(r->ends[1].why, "handshake was not done within 0.1 s");
	close(fd);
	for (int i = 0; i < 2; i++)
		assert_int_equal(r->ends[i].up, 0);
	rig_end(r);
}

static void a_stream_cut_off_without_a_goodbye_is_told(struct rig *r)
{
	int fd;

	with_filter(r, "kitchen");
	rig_start(r);
	fd = rig_connect(r);
	assert_true(rig_write(fd, "@attic\n", 7));
	while (!r->n_ends || !r->ends[0].up)
		rig_run_ms(r, 5);
	assert_string_equal(r->ends[0].link->identity, "attic");
	shutdown(fd, SHUT_WR);
	rig_run(r, rig_first_is_down);
	ASSERT_SAYS(r->ends[0].why, "without a goodbye");
	close(fd);
	rig_end(r);
}

static const struct rig_case cases[] = {
	CASE(frames_go_through_a_filter),
	CASE(who_fails_the_handshake_never_comes_up),
	CASE(a_stream_cut_off_without_a_goodbye_is_told),
};

int main(int argc, char **argv)
{
	return rig_run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
