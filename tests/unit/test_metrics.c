/* SPDX-License-Identifier: MIT */
/* Metrics: who may read them, who may not keep others from it, and what names do to the text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/base.h"
#include "metrics.h"

#define DRIPS 600 /* a minute of them */

static struct sockaddr_in at;
static struct metrics *metrics;

/* -------------------------------------------------------------------- the node */

static json_t *status(void *ctx)
{
	return json_pack("{s:s, s:[]}", "name", (const char *)ctx, "runs");
}

/* A thread for each post does for the loop's. */
static struct {
	void (*fn)(void *);
	void *arg;
	pthread_t thread;
	bool begun;
} caller;

static void *call(void *unused)
{
	(void)unused;
	caller.fn(caller.arg);
	return NULL;
}

static void join_caller(void)
{
	if (caller.begun)
		pthread_join(caller.thread, NULL);
	caller.begun = false;
}

static int post(void *loop, void (*fn)(void *), void *arg)
{
	(void)loop;
	join_caller();
	caller.fn = fn;
	caller.arg = arg;
	caller.begun = !pthread_create(&caller.thread, NULL, call, NULL);
	return caller.begun ? 0 : -1;
}

/* A node whose loop stands still. */
static int post_in_vain(void *loop, void (*fn)(void *), void *arg)
{
	(void)loop;
	(void)fn;
	(void)arg;
	return 0;
}

static void open_with(int (*how)(void *, void (*)(void *), void *))
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	struct sherd_error err;
	char address[64];

	at = (struct sockaddr_in){ .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	getsockname(fd, (struct sockaddr *)&at, &len);
	close(fd);
	snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(at.sin_port));
	if (metrics_open(&metrics, address, status, (void *)"kitchen", how, NULL, &err))
		fail_msg("%s", err.msg);
}

static void end(void)
{
	metrics_close(metrics);
	join_caller();
}

/* ----------------------------------------------------------------- who asks it */

static int dial(void)
{
	const struct timeval patience = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect(int fd, const char *begin, const char *words)
{
	char text[8192];
	size_t n = 0;
	ssize_t got;

	while (n < sizeof(text) - 1 && (got = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	if (strncmp(text, begin, strlen(begin)) || !strstr(text, words))
		fail_msg("\"%s\" does not begin with \"%s\", or lacks \"%s\"", text, begin, words);
	close(fd);
}

/* Sends a byte ten times a second, until nobody takes it any more. */
struct slow {
	pthread_t thread;
	int fd, sent;
};

static void *drip(void *arg)
{
	struct slow *s = arg;
	struct pollfd gone = { .fd = s->fd, .events = POLLRDHUP };

	while (s->sent < DRIPS && send(s->fd, "G", 1, MSG_NOSIGNAL) == 1 &&
	       poll(&gone, 1, 100) <= 0)
		s->sent++;
	return NULL;
}

static void begin_slowly(struct slow *s)
{
	*s = (struct slow){ .fd = dial() };
	assert_int_equal(pthread_create(&s->thread, NULL, drip, s), 0);
	usleep(50000); /* and is the first, most likely */
}

static void is_turned_away(struct slow *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	assert_true(s->sent < DRIPS);
}

/* ------------------------------------------------------------------------ tests */

static void who_asks_with_get_has_numbers(void **state)
{
	int fd;

	(void)state;
	open_with(post);
	fd = dial();
	say(fd, "GET /metr");
	say(fd, "ics HTTP/1.1\r\nHost: kitchen\r\n\r\n");
	expect(fd, "HTTP/1.0 200 OK\r\n", "\nsherd_runs{node=\"kitchen\"} 0\n");
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\n\r\n");
	expect(fd, "HTTP/1.0 400 ", "ask with GET");
	end();
}

static void who_asks_slowly_does_not_keep_others_from_their_answer(void **state)
{
	struct slow slow;
	int fd;

	(void)state;
	open_with(post);
	begin_slowly(&slow);
	fd = dial();
	say(fd, "GET / HTTP/1.0\r\n\r\n");
	expect(fd, "HTTP/1.0 200 OK\r\n", "sherd_runs");
	is_turned_away(&slow);
	end();
}

static void who_asks_slowly_does_not_keep_the_node_from_ending(void **state)
{
	struct slow slow;

	(void)state;
	open_with(post);
	begin_slowly(&slow);
	end();
	is_turned_away(&slow);
}

static void a_node_that_stands_still_is_an_error_and_not_silence(void **state)
{
	int fd;

	(void)state;
	open_with(post_in_vain);
	fd = dial();
	say(fd, "GET / HTTP/1.0\r\n\r\n");
	expect(fd, "HTTP/1.0 503 ", "the node does not answer");
	end();
}

static void a_name_cannot_end_a_label(void **state)
{
	json_t *j = json_pack("{s:s, s:[]}", "name", "a\"b\\c\nd", "runs");
	char *text = metrics_text(j);

	(void)state;
	assert_non_null(text);
	assert_non_null(strstr(text, "\nsherd_runs{node=\"a\\\"b\\\\c\\nd\"} 0\n"));
	free(text);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_asks_with_get_has_numbers),
		cmocka_unit_test(who_asks_slowly_does_not_keep_others_from_their_answer),
		cmocka_unit_test(who_asks_slowly_does_not_keep_the_node_from_ending),
		cmocka_unit_test(a_node_that_stands_still_is_an_error_and_not_silence),
		cmocka_unit_test(a_name_cannot_end_a_label),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
