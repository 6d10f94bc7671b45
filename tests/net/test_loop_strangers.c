/* SPDX-License-Identifier: MIT */
/* Whom the loop can't reach, and who comes to it without meaning it. */
#include <netinet/in.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "rig.h"

/* ------------------------------------------------------------------- dialling */

static void dial_and_fail(struct rig *r, const char *address)
{
	memset(&r->a, 0, sizeof(r->a));
	rig_dial(r, &r->a, address);
	rig_run(r, rig_a_is_down);
	assert_int_equal(r->a.up, 0);
	ASSERT_SAYS(r->a.why, address);
}

static void whom_nobody_answers_for_goes_down_with_a_sentence(struct rig *r)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	char address[64];

	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	getsockname(fd, (struct sockaddr *)&at, &len);
	snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(at.sin_port));
	rig_start(r);
	dial_and_fail(r, address);
	ASSERT_SAYS(r->a.why, "nobody listens there");
	/* Multicast: no connection goes there, whatever the network is. */
	dial_and_fail(r, "224.0.0.1:9");
	dial_and_fail(r, "[ff02::1]:9");
	dial_and_fail(r, "no..such..host:7433");
	ASSERT_SAYS(r->a.why, "no known host");
	rig_end(r);
	close(fd);
}

static void who_does_not_answer_is_given_up_in_time(struct rig *r)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), full[4];
	socklen_t len = sizeof(at);
	char address[64];

	/* A backlog that is full: the kernel drops who comes next without a word. */
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len) || listen(fd, 0), 0);
	getsockname(fd, (struct sockaddr *)&at, &len);
	for (size_t i = 0; i < ARRAY_SIZE(full); i++) {
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(full[i], (struct sockaddr *)&at, len);
	}
	snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(at.sin_port));
	r->params.connect_ms = 150;
	rig_start(r);
	dial_and_fail(r, address);
	ASSERT_SAYS(r->a.why, "no connection within 0.1 s");
	memset(&r->a, 0, sizeof(r->a));
	rig_dial(r, &r->a, address); /* and given up before */
	rig_run_ms(r, 10);
	sherd_link_hang_up(r->a.link, "no time");
	rig_run(r, rig_a_is_down);
	assert_string_equal(r->a.why.msg, "no time");
	rig_end(r);
	for (size_t i = 0; i < ARRAY_SIZE(full); i++)
		close(full[i]);
	close(fd);
}

static void a_name_is_as_good_as_a_number(struct rig *r)
{
	char address[80];

	rig_start(r);
	snprintf(address, sizeof(address), "localhost%s", strrchr(r->at, ':'));
	rig_dial(r, &r->a, address);
	rig_run(r, rig_both_up);
	rig_end(r);
	/* And one whose answer nobody waits for. */
	rig_start(r);
	memset(&r->a, 0, sizeof(r->a));
	rig_dial(r, &r->a, address);
	sherd_link_hang_up(r->a.link, "no matter");
	rig_end(r);
	assert_string_equal(r->a.why.msg, "no matter");
}

static void links_go_over_ipv6_as_well(struct rig *r)
{
	rig_start(r);
	if (sherd_loop_listen(r->loop, "[::1]:0", r->at, &r->err)) {
		rig_end(r);
		print_message("skipped: %s\n", r->err.msg);
		skip();
	}
	assert_memory_equal(r->at, "[::1]:", 6);
	rig_dial(r, &r->a, r->at);
	rig_run(r, rig_both_up);
	assert_memory_equal(r->ends[0].link->address, "[::1]:", 6);
	rig_end(r);
}

static void wants_nobody(struct end *e)
{
	e->link->user = NULL;
	e->down = 1; /* as it will not be told */
}

static void who_is_wanted_by_nobody_is_let_go(struct rig *r)
{
	r->on_accepted = wants_nobody;
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_run(r, rig_none_is_left);
	assert_int_equal(r->a.down, 1);
	rig_end(r);
}

static void an_address_that_is_none_is_refused(struct rig *r)
{
	static const struct {
		const char *address, *says;
	} cases[] = {
		{ "10.0.0.1", "is no address" },	  { "10.0.0.1:", "the port" },
		{ "10.0.0.1:77777", "the port" },	  { "10.0.0.1:12x", "the port" },
		{ "::1:80", "in brackets" },		  { ":80", "a host and a port" },
		{ "10.0.0.1:0", "a host and a port" },	  { "[::1:80", "in brackets" },
		{ "10.0.0.1:-1", "the port" },
	};
	struct sherd_link *l;

	rig_start(r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(r->net->ops->dial(r->net, cases[i].address, NULL, NULL, NULL, &l,
						   &r->err),
				 -EINVAL);
		ASSERT_SAYS(r->err, cases[i].says);
		assert_null(l);
	}
	assert_int_equal(sherd_loop_listen(r->loop, r->at, NULL, &r->err), -EADDRINUSE);
	ASSERT_SAYS(r->err, "can't be listened at");
	assert_int_equal(sherd_loop_listen(r->loop, ":0", r->at, &r->err), 0);
	rig_end(r);
}

/* ------------------------------------------------------------------ strangers */

struct loris {
	pthread_t thread;
	int fd, ended;
};

static void *trickle(void *arg)
{
	struct loris *s = arg;
	uint8_t frame[256];
	size_t n = rig_frame(frame, 0, 60, 1);

	for (size_t i = 0; i < n && rig_write(s->fd, frame + i, 1); i++)
		usleep(20000);
	s->ended = rig_read_end(s->fd);
	return NULL;
}

static void who_dawdles_with_his_first_frame_is_cut_off(struct rig *r)
{
	struct loris s;

	r->params.stranger_ms = 120;
	rig_start(r);
	s.fd = rig_connect(r);
	pthread_create(&s.thread, NULL, trickle, &s);
	rig_run(r, rig_first_is_down);
	ASSERT_SAYS(r->ends[0].why, "sent no whole frame within 0.1 s");
	pthread_join(s.thread, NULL);
	assert_true(s.ended == 0 || s.ended == -ECONNRESET || s.ended == -EPIPE);
	close(s.fd);
	rig_end(r);
}

static void send_one(struct end *e)
{
	rig_send(e, 100, 1);
}

static void who_has_greeted_may_be_silent(struct rig *r)
{
	r->a.on_up = send_one;
	r->params.stranger_ms = 30;
	rig_start(r);
	rig_dial(r, &r->a, r->at);
	rig_run_ms(r, 100);
	assert_int_equal(r->ends[0].frames, 1);
	assert_int_equal(r->ends[0].down, 0);
	rig_end(r);
}

static void a_port_scan_and_garbage_leave_nothing_behind(struct rig *r)
{
	const struct linger now = { .l_onoff = 1 };
	uint8_t garbage[4096];

	rig_start(r);
	for (int i = 0; i < 40; i++) {
		int fd = rig_connect(r);

		for (size_t k = 0; k < sizeof(garbage); k++)
			garbage[k] = rand();
		if (i % 3)
			rig_write(fd, garbage, rand() % sizeof(garbage));
		if (i % 5 == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
		if (i % 4 == 0)
			rig_run_ms(r, 2);
	}
	rig_run(r, rig_none_is_left);
	for (int i = 0; i < r->n_ends; i++)
		assert_int_equal(r->ends[i].frames, 0);
	rig_end(r);
}

static bool three_are_in(struct rig *r)
{
	return r->n_ends == 3 && rig_frames(r) == 3;
}

static bool two_were_turned_away(struct rig *r)
{
	return r->loop->n_turned_away == 2;
}

static void one_link_too_many_is_turned_away(struct rig *r)
{
	uint8_t frame[256];
	size_t n = rig_frame(frame, 0, 60, 1);
	int fd[5];

	r->params.max_links = 3;
	rig_start(r);
	for (int i = 0; i < 3; i++) {
		fd[i] = rig_connect(r);
		assert_true(rig_write(fd[i], frame, n));
	}
	rig_run(r, three_are_in);
	for (int i = 3; i < 5; i++)
		fd[i] = rig_connect(r);
	rig_run(r, two_were_turned_away);
	assert_int_equal(r->n_ends, 3);
	for (int i = 3; i < 5; i++)
		assert_true(rig_read_end(fd[i]) != -ETIMEDOUT);
	assert_int_equal(r->net->ops->dial(r->net, r->at, NULL, NULL, NULL,
					   &(struct sherd_link *){ 0 }, &r->err),
			 -EMFILE);
	rig_end(r);
	for (int i = 0; i < 5; i++)
		close(fd[i]);
}

static bool the_latest_greets(struct rig *r)
{
	return r->n_ends == 10 && r->ends[9].frames == 1 && r->loop->n_links == 3;
}

static void of_too_many_strangers_the_oldest_go(struct rig *r)
{
	uint8_t frame[256];
	size_t n = rig_frame(frame, 0, 60, 1);
	int fd[10];

	r->params.max_strangers = 3;
	rig_start(r);
	for (int i = 0; i < 10; i++)
		fd[i] = rig_connect(r);
	assert_true(rig_write(fd[9], frame, n));
	rig_run(r, the_latest_greets);
	ASSERT_SAYS(r->ends[0].why, "made room for a newer link");
	rig_end(r);
	for (int i = 0; i < 10; i++)
		close(fd[i]);
}

static bool all_have_come(struct rig *r)
{
	return r->n_ends == 6;
}

static void who_comes_when_no_descriptor_is_left_waits_for_one(struct rig *r)
{
	struct rlimit old, few;
	int fd[6];

	rig_start(r);
	for (int i = 0; i < 6; i++)
		fd[i] = rig_connect(r);
	getrlimit(RLIMIT_NOFILE, &old);
	few = old;
	few.rlim_cur = fd[5] + 3;
	setrlimit(RLIMIT_NOFILE, &few);
	rig_run_ms(r, 30);
	assert_in_range(r->n_ends, 1, 4);
	setrlimit(RLIMIT_NOFILE, &old);
	rig_run(r, all_have_come);
	rig_end(r);
	for (int i = 0; i < 6; i++)
		close(fd[i]);
}

static const struct rig_case cases[] = {
	CASE(whom_nobody_answers_for_goes_down_with_a_sentence),
	CASE(who_does_not_answer_is_given_up_in_time),
	CASE(a_name_is_as_good_as_a_number),
	CASE(links_go_over_ipv6_as_well),
	CASE(who_is_wanted_by_nobody_is_let_go),
	CASE(an_address_that_is_none_is_refused),
	CASE(who_dawdles_with_his_first_frame_is_cut_off),
	CASE(who_has_greeted_may_be_silent),
	CASE(a_port_scan_and_garbage_leave_nothing_behind),
	CASE(one_link_too_many_is_turned_away),
	CASE(of_too_many_strangers_the_oldest_go),
	CASE(who_comes_when_no_descriptor_is_left_waits_for_one),
};

int main(int argc, char **argv)
{
	return rig_run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
