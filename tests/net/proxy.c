/* SPDX-License-Identifier: MIT */
/*
 * proxy: one thread and poll(). What has been read waits in pieces, each with the time at which it
 * is due; a direction reads no more when much is waiting, as a network does.
 */
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "net/io.h"
#include "proxy.h"

#define MAX_PAIRS   64
#define MAX_WAITING (1u << 20)
#define ROOM	    (64u << 10)

struct piece {
	struct piece *next;
	uint64_t due;
	size_t size, sent;
	uint8_t data[];
};

struct way {
	int from, to; /* sockets; the same in both directions of a pair */
	struct piece *first, **end;
	size_t waiting;
	uint64_t last_due, n_read;
	bool finished, told; /* end of stream: read, handed on */
};

struct pair {
	struct way way[2];
	bool used;
};

struct proxy {
	pthread_t thread;
	pthread_mutex_t lock; /* params, breaking */
	struct proxy_params params;
	struct sockaddr_storage to;
	int listener, wake;
	int breaking; /* -1, or enum proxy_break */
	bool stopping;
	struct pair pairs[MAX_PAIRS];
};

static uint64_t now_us(void)
{
	return (uint64_t)(sherd_now() * 1e6);
}

static void drop_pieces(struct way *w)
{
	struct piece *p;

	while ((p = w->first)) {
		w->first = p->next;
		free(p);
	}
}

static void close_pair(struct pair *p, bool reset)
{
	const struct linger now = { .l_onoff = 1 };

	for (int i = 0; i < 2; i++) {
		if (reset)
			setsockopt(p->way[i].from, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		drop_pieces(&p->way[i]);
	}
	close(p->way[0].from);
	close(p->way[0].to);
	p->used = false;
}

static void accept_pair(struct proxy *x)
{
	struct pair *p = x->pairs;
	int fd = accept4(x->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), to, one = 1;

	if (fd < 0)
		return;
	while (p < x->pairs + MAX_PAIRS && p->used)
		p++;
	to = socket(x->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p == x->pairs + MAX_PAIRS || to < 0 ||
	    (connect(to, (struct sockaddr *)&x->to, sherd_address_size(&x->to)) &&
	     errno != EINPROGRESS)) {
		close(fd);
		if (to >= 0)
			close(to);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*p = (struct pair){ .used = true,
			    .way = { { .from = fd, .to = to }, { .from = to, .to = fd } } };
	for (int i = 0; i < 2; i++)
		p->way[i].end = &p->way[i].first;
}

/* Cuts what has been read into pieces with their times. */
static void add(struct way *w, const struct proxy_way *f, const uint8_t *data, size_t n)
{
	while (n) {
		size_t size = f->piece ? MIN(f->piece, n) : n;
		struct piece *p = malloc(sizeof(*p) + size);

		if (!p)
			abort();
		*p = (struct piece){ .due = MAX(now_us() + f->delay_us, w->last_due),
				     .size = size };
		memcpy(p->data, data, size);
		if (f->corrupt > w->n_read && f->corrupt <= w->n_read + size)
			p->data[f->corrupt - w->n_read - 1] ^= 0x10;
		w->last_due = p->due + f->pause_us;
		*w->end = p;
		w->end = &p->next;
		w->waiting += size;
		w->n_read += size;
		data += size;
		n -= size;
	}
}

/* Bytes that may still be read before something happens. */
static uint64_t left(const struct way *w, const struct proxy_way *f)
{
	uint64_t n = UINT64_MAX;

	n = f->stall ? MIN(n, f->stall) : n;
	n = f->cut ? MIN(n, f->cut) : n;
	n = f->reset ? MIN(n, f->reset) : n;
	return n > w->n_read ? n - w->n_read : 0;
}

/* false: the pair is to go, by a reset if *@reset. */
static bool read_way(struct way *w, const struct proxy_way *f, bool *reset)
{
	uint8_t room[ROOM];
	ssize_t n = recv(w->from, room, MIN(sizeof(room), left(w, f)), MSG_DONTWAIT);

	if (n > 0)
		add(w, f, room, n);
	else if (!n)
		w->finished = true;
	else if (errno != EAGAIN && errno != EINTR)
		return !(*reset = true);
	return true;
}

static bool write_way(struct way *w, const struct proxy_way *f, bool *reset)
{
	struct piece *p;

	while ((p = w->first) && p->due <= now_us()) {
		ssize_t n = send(w->to, p->data + p->sent, p->size - p->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			*reset = errno != EAGAIN && errno != ENOTCONN;
			return !*reset;
		}
		p->sent += n;
		w->waiting -= n;
		if (p->sent < p->size)
			return true;
		w->first = p->next;
		if (!w->first)
			w->end = &w->first;
		free(p);
	}
	if (w->first)
		return true;
	*reset = f->reset && w->n_read >= f->reset;
	if (*reset || (f->cut && w->n_read >= f->cut))
		return false;
	if (w->finished && !w->told) {
		shutdown(w->to, SHUT_WR);
		w->told = true;
	}
	return true;
}

static bool wants_read(const struct way *w, const struct proxy_way *f)
{
	return !w->finished && w->waiting < MAX_WAITING && left(w, f);
}

/* Does what can be done; false: the pair is gone. */
static bool serve(struct pair *p, const struct proxy_params *f)
{
	bool reset = false;

	if (f->blackhole)
		return true;
	for (int i = 0; i < 2; i++) {
		const struct proxy_way *fault = i ? &f->back : &f->there;

		if ((wants_read(&p->way[i], fault) && !read_way(&p->way[i], fault, &reset)) ||
		    !write_way(&p->way[i], fault, &reset)) {
			close_pair(p, reset);
			return false;
		}
	}
	if (!p->way[0].told || !p->way[1].told)
		return true;
	close_pair(p, false);
	return false;
}

/* What to wait for on a socket; *@until: at most that long. */
static short interest(const struct way *reads, const struct proxy_way *f, const struct way *writes,
		      uint64_t *until)
{
	short events = wants_read(reads, f) ? POLLIN : 0;

	if (writes->first && writes->first->due > now_us())
		*until = MIN(*until, writes->first->due);
	else if (writes->first)
		events |= POLLOUT;
	return events;
}

static void wait(struct proxy *x, const struct proxy_params *f)
{
	struct pollfd fds[2 + 2 * MAX_PAIRS] = { { x->wake, POLLIN, 0 },
						 { x->listener, POLLIN, 0 } };
	uint64_t until = now_us() + 1000000, now;
	struct timespec ts = { 0 };
	int n = 2;

	for (struct pair *p = x->pairs; p < x->pairs + MAX_PAIRS; p++) {
		if (!p->used || f->blackhole)
			continue;
		for (int i = 0; i < 2; i++) {
			short events =
				interest(&p->way[i], i ? &f->back : &f->there, &p->way[!i], &until);

			if (events) /* a hang-up would be told without end */
				fds[n++] = (struct pollfd){ p->way[i].from, events, 0 };
		}
	}
	now = now_us();
	if (until > now)
		ts.tv_nsec = (until - now) % 1000000 * 1000, ts.tv_sec = (until - now) / 1000000;
	ppoll(fds, n, &ts, NULL);
	if (fds[0].revents & POLLIN)
		eventfd_read(x->wake, &(eventfd_t){ 0 });
	if (fds[1].revents & POLLIN)
		accept_pair(x);
}

static void *run(void *arg)
{
	struct proxy *x = arg;
	struct proxy_params f;
	bool stopping = false;
	int breaking;

	while (!stopping) {
		pthread_mutex_lock(&x->lock);
		f = x->params;
		breaking = x->breaking;
		x->breaking = -1;
		stopping = x->stopping;
		pthread_mutex_unlock(&x->lock);
		for (struct pair *p = x->pairs; p < x->pairs + MAX_PAIRS; p++) {
			if (p->used && (stopping || breaking >= 0))
				close_pair(p, breaking == PROXY_RESET);
			else if (p->used)
				serve(p, &f);
		}
		if (!stopping)
			wait(x, &f);
	}
	return NULL;
}

static void poke(struct proxy *x)
{
	pthread_mutex_unlock(&x->lock);
	eventfd_write(x->wake, 1);
}

void proxy_change(struct proxy *x, const struct proxy_params *params)
{
	pthread_mutex_lock(&x->lock);
	x->params = *params;
	poke(x);
}

void proxy_break(struct proxy *x, enum proxy_break how)
{
	pthread_mutex_lock(&x->lock);
	x->breaking = how;
	poke(x);
}

void proxy_stop(struct proxy *x)
{
	pthread_mutex_lock(&x->lock);
	x->stopping = true;
	poke(x);
	pthread_join(x->thread, NULL);
	pthread_mutex_destroy(&x->lock);
	close(x->listener);
	close(x->wake);
	free(x);
}

static int find(const char *address, struct sockaddr_storage *a, struct sherd_error *err)
{
	struct sockaddr_storage to[SHERD_MAX_ADDRESSES] = { 0 };
	char host[256], port[8];
	int rc = sherd_address_split(address, host, port, err);

	if (!rc)
		rc = sherd_address_find(host, port, 0, to, err);
	*a = to[0];
	return rc;
}

struct proxy *proxy_start(const struct proxy_params *params, char address[64], const char **why)
{
	static struct sherd_error err;
	struct proxy *x = calloc(1, sizeof(*x));
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);
	int one = 1;

	*why = err.msg;
	if (!x || find(params->to, &x->to, &err) < 0 ||
	    find(params->from ? params->from : "127.0.0.1:0", &at, &err) < 0) {
		free(x);
		return NULL;
	}
	x->params = *params;
	x->breaking = -1;
	pthread_mutex_init(&x->lock, NULL);
	x->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	x->listener = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(x->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(x->listener, (struct sockaddr *)&at, sherd_address_size(&at)) ||
	    listen(x->listener, 64) || getsockname(x->listener, (struct sockaddr *)&at, &len) ||
	    pthread_create(&x->thread, NULL, run, x)) {
		*why = strerror(errno);
		close(x->listener);
		close(x->wake);
		free(x);
		return NULL;
	}
	sherd_address_print(&at, address);
	return x;
}
