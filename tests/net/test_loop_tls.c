/* SPDX-License-Identifier: MIT */
/* Links under TLS: who is who, who is refused and told so, and frames that arrive. */
#include <sys/socket.h>
#include <unistd.h>
#include "rig.h"
#include "tls_rig.h"

/* Both ends are the same loop's, and yet somebody else each: who dials, who is called. */
static struct sherd_tls_ctx *who[2];
static const char *expected;

static int open_either(struct sherd_tls **t, struct sherd_tls_ctx *ctx, bool server,
		       const char *name, struct sherd_error *err)
{
	(void)ctx;
	return sherd_tls_new(t, who[server], server, server ? name : expected, err);
}

static struct sherd_tls_ops either;

static void start(struct rig *r, const char *dialler_of, const char *name)
{
	void *state;

	assert_int_equal(make_clusters(&state), 0);
	who[0] = open_ctx(strcmp(dialler_of, "ours") ? theirs : ours, "head");
	who[1] = open_ctx(ours, "kitchen");
	expected = name;
	either = sherd_tls_filter;
	either.open = open_either;
	r->params.tls = who[1];
	r->params.tls_ops = &either;
	r->params.stranger_ms = 20000;
	r->params.connect_ms = 20000;
	rig_start(r);
}

static void end(struct rig *r)
{
	void *state = NULL;

	rig_end(r);
	sherd_tls_ctx_free(who[0]);
	sherd_tls_ctx_free(who[1]);
	scratch_remove(&state);
}

static void many_frames(struct end *e)
{
	for (int i = 0; i < 30; i++)
		rig_send_kept(e, rand() % (i % 10 ? 3000 : 300000), i);
}

static bool thirty_each(struct rig *r)
{
	return r->a.frames == 30 && rig_frames(r) == 30;
}

static void frames_arrive_under_tls_and_each_knows_the_other(struct rig *r)
{
	r->a.on_up = r->like.on_up = many_frames;
	r->a.on_frame = r->like.on_frame = rig_check;
	start(r, "ours", "kitchen");
	rig_dial(r, &r->a, r->at);
	rig_run(r, thirty_each);
	assert_string_equal(r->a.link->identity, "kitchen");
	assert_string_equal(r->ends[0].link->identity, "head");
	sherd_link_hang_up(r->a.link, "enough");
	rig_run(r, rig_none_is_left);
	assert_string_equal(r->a.why.msg, "enough");
	ASSERT_SAYS(r->ends[0].why, "the other side hung up");
	end(r);
}

static void whoever_is_not_who_was_called_is_refused(struct rig *r)
{
	start(r, "ours", "attic");
	rig_dial(r, &r->a, r->at);
	rig_run(r, rig_none_is_left);
	assert_int_equal(r->a.up + r->ends[0].up, 0);
	ASSERT_SAYS(r->a.why, "\"attic\" is wanted here");
	ASSERT_SAYS(r->ends[0].why, "expected another name");
	end(r);
}

static void who_is_of_another_cluster_is_refused_and_both_are_told(struct rig *r)
{
	start(r, "theirs", NULL);
	rig_dial(r, &r->a, r->at);
	rig_run(r, rig_none_is_left);
	assert_int_equal(r->ends[0].up, 0);
	assert_int_equal(r->ends[0].frames + r->a.frames, 0);
	ASSERT_SAYS(r->a.why, "was not issued by our authority");
	ASSERT_SAYS(r->ends[0].why, "does not accept us");
	end(r);
}

static void frames_in_the_clear_are_refused(struct rig *r)
{
	uint8_t frame[256];
	size_t n = rig_frame(frame, 0, 60, 1);
	int fd;

	start(r, "ours", NULL);
	fd = rig_connect(r);
	assert_true(rig_write(fd, frame, n));
	shutdown(fd, SHUT_WR);
	rig_run(r, rig_first_is_down);
	assert_int_equal(r->ends[0].up, 0);
	ASSERT_SAYS(r->ends[0].why, "without TLS");
	end(r);
	close(fd);
}

static const struct rig_case cases[] = {
	CASE(frames_arrive_under_tls_and_each_knows_the_other),
	CASE(whoever_is_not_who_was_called_is_refused),
	CASE(who_is_of_another_cluster_is_refused_and_both_are_told),
	CASE(frames_in_the_clear_are_refused),
};

int main(int argc, char **argv)
{
	return rig_run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
