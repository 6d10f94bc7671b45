/* SPDX-License-Identifier: MIT */
/*
 * metrics: just enough of HTTP/1.0 that a scraper, curl and a browser are content: whatever is
 * asked for with GET is the numbers, and then the connection ends.
 */
#include <errno.h>
#include <jansson.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/base.h"
#include "metrics.h"

#define REQUEST_MAX 4096
#define PATIENCE_S  2 /* for a request and its answer, however the bytes come and go */

/* Who is served, and until when: others wait meanwhile. */
struct client {
	int fd, stop;
	double until; /* as sherd_now() has it */
};

struct metrics {
	int listener, stop; /* stop: an eventfd */
	json_t *(*status)(void *ctx);
	void *ctx;
	int (*post)(void *loop, void (*fn)(void *), void *arg);
	void *loop;
	pthread_t thread;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t answered;
	bool asked; /* the loop will answer; it is asked once at a time */
	bool over; /* it will not */
	json_t *answer;
};

/* ------------------------------------------------------------- on the loop */

static void answer(void *arg)
{
	struct metrics *m = arg;
	json_t *j = m->status(m->ctx);

	pthread_mutex_lock(&m->lock);
	json_decref(m->answer);
	m->answer = j;
	m->asked = false;
	pthread_cond_signal(&m->answered);
	pthread_mutex_unlock(&m->lock);
}

/* ----------------------------------------------------------- on its thread */

static struct timespec timespec_of(double s)
{
	return (struct timespec){ .tv_sec = (time_t)s,
				  .tv_nsec = (long)((s - (double)(time_t)s) * 1e9) };
}

/* A node whose loop stands still is told of by an error, not by silence. */
static json_t *ask(struct metrics *m, const struct client *c)
{
	const struct timespec until = timespec_of(c->until);
	json_t *j;
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->asked)
		m->asked = !m->post(m->loop, answer, m);
	while (m->asked && !m->answer && !m->over && !rc)
		rc = pthread_cond_timedwait(&m->answered, &m->lock, &until);
	j = m->answer;
	m->answer = NULL;
	pthread_mutex_unlock(&m->lock);
	return j;
}

/* Until the client's socket is ready for @events; false: it is too late, or the node ends. */
static bool wait_for(const struct client *c, short events)
{
	struct pollfd fds[] = { { .fd = c->fd, .events = events },
				{ .fd = c->stop, .events = POLLIN } };
	double left;

	do {
		left = c->until - sherd_now();
		if (left <= 0)
			return false;
	} while (poll(fds, 2, (int)(left * 1e3) + 1) < 0 && errno == EINTR);
	return fds[0].revents && !fds[1].revents;
}

/* Up to the empty line; false: it is no request. */
static bool read_request(const struct client *c)
{
	char buf[REQUEST_MAX + 1];
	size_t n = 0;
	ssize_t got;

	while (n < REQUEST_MAX && wait_for(c, POLLIN) &&
	       (got = recv(c->fd, buf + n, REQUEST_MAX - n, MSG_DONTWAIT)) > 0) {
		n += (size_t)got;
		buf[n] = '\0';
		if (strstr(buf, "\r\n\r\n") || strstr(buf, "\n\n"))
			return !strncmp(buf, "GET ", 4);
	}
	return false;
}

/* What finds room at once is sent, however late it is: why there is no answer, above all. */
static void send_all(const struct client *c, const char *text, size_t n)
{
	ssize_t sent;

	while (n) {
		sent = send(c->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && (errno != EAGAIN || !wait_for(c, POLLOUT)))
			return;
		text += MAX(sent, 0);
		n -= (size_t)MAX(sent, 0);
	}
}

static void send_answer(const struct client *c, const char *code, const char *text)
{
	char head[160];
	int n = snprintf(
		head, sizeof(head),
		"HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\n"
		"Connection: close\r\n\r\n",
		code, strlen(text));

	send_all(c, head, (size_t)n);
	send_all(c, text, strlen(text));
}

static void serve(struct metrics *m, const struct client *c)
{
	json_t *status;
	char *text;

	if (!read_request(c)) {
		send_answer(c, "400 Bad Request", "ask with GET\n");
		return;
	}
	status = ask(m, c);
	text = status ? metrics_text(status) : NULL;
	json_decref(status);
	if (text)
		send_answer(c, "200 OK", text);
	else
		send_answer(c, "503 Service Unavailable", "the node does not answer\n");
	free(text);
}

static void *work(void *arg)
{
	struct metrics *m = arg;
	struct pollfd fds[] = { { .fd = m->listener, .events = POLLIN },
				{ .fd = m->stop, .events = POLLIN } };
	struct client c = { .stop = m->stop };

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		c.fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);
		if (c.fd < 0) {
			usleep(10000); /* no descriptors, perhaps: not in circles */
			continue;
		}
		c.until = sherd_now() + PATIENCE_S;
		serve(m, &c);
		shutdown(c.fd, SHUT_WR);
		close(c.fd);
	}
}

/* ------------------------------------------------------------ its beginning */

static int listen_at(const struct addrinfo *a)
{
	const int on = 1;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 8))
		return fd;
	close(fd);
	return -errno;
}

static int open_listener(const char *address, struct sherd_error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	const char *colon = strrchr(address, ':');
	struct addrinfo *found = NULL;
	char host[256];
	size_t n = colon ? (size_t)(colon - address) : 0;
	int rc;

	if (!colon || n >= sizeof(host))
		return sherd_fail(err, -EINVAL, "%s is no address such as 127.0.0.1:9100", address);
	memcpy(host, address, n);
	host[n] = '\0';
	if (n > 1 && host[0] == '[' && host[n - 1] == ']') {
		memmove(host, host + 1, n - 2);
		host[n - 2] = '\0';
	}
	rc = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found);
	if (rc)
		return sherd_fail(err, -EINVAL, "%s: %s", address, gai_strerror(rc));
	rc = listen_at(found);
	freeaddrinfo(found);
	return rc >= 0 ? rc :
			 sherd_fail(err, rc, "%s: can't listen there: %s", address, strerror(-rc));
}

int metrics_open(struct metrics **metrics, const char *address, json_t *(*status)(void *ctx),
		 void *ctx, int (*post)(void *loop, void (*fn)(void *), void *arg), void *loop,
		 struct sherd_error *err)
{
	struct metrics *m = sherd_calloc(1, sizeof(*m));
	pthread_condattr_t attr;
	int rc;

	*metrics = NULL;
	if (!m)
		return sherd_fail_oom(err, sizeof(*m), "metrics");
	m->status = status;
	m->ctx = ctx;
	m->post = post;
	m->loop = loop;
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* as sherd_now() */
	pthread_cond_init(&m->answered, &attr);
	pthread_condattr_destroy(&attr);
	m->stop = eventfd(0, EFD_CLOEXEC);
	m->listener = rc = open_listener(address, err);
	if (rc >= 0)
		rc = m->stop < 0 || pthread_create(&m->thread, NULL, work, m) ?
			     sherd_fail(err, -EAGAIN, "no thread can be had for metrics") :
			     0;
	if (rc < 0) {
		if (m->listener >= 0)
			close(m->listener);
		if (m->stop >= 0)
			close(m->stop);
		free(m);
		return rc;
	}
	*metrics = m;
	return 0;
}

void metrics_close(struct metrics *m)
{
	const uint64_t one = 1;

	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->over = true;
	pthread_cond_signal(&m->answered);
	pthread_mutex_unlock(&m->lock);
	if (write(m->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(m->thread, NULL);
	close(m->listener);
	close(m->stop);
	json_decref(m->answer);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->answered);
	free(m);
}
