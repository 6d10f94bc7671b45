/* SPDX-License-Identifier: MIT */
/*
 * loop: the ladder, the round of waiting and doing, timers, and what other threads post. Timers are
 * a list in order of time: there are a few for each link, and most are set for later than all
 * others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "net/io.h"
#include "region/region.h"

#define FREE_WAIT_US 1000000

static const struct {
	const char *name;
	const struct sherd_io_ops *ops;
} rungs[SHERD_N_IOS] = {
	[SHERD_IO_URING_ZC] = { "uring-zc", &sherd_io_uring_zc },
	[SHERD_IO_URING_519] = { "uring-5.19", &sherd_io_uring_519 },
	[SHERD_IO_URING] = { "uring", &sherd_io_uring },
	[SHERD_IO_EPOLL] = { "epoll", &sherd_io_epoll },
};

const char *sherd_io_name(int io)
{
	return io >= 0 && io < SHERD_N_IOS ? rungs[io].name : NULL;
}

static bool is_auto(const char *name)
{
	return !name || !strcmp(name, "auto");
}

bool sherd_io_known(const char *name)
{
	for (int i = 0; i < SHERD_N_IOS; i++)
		if (is_auto(name) || !strcmp(name, rungs[i].name))
			return true;
	return false;
}

/* ------------------------------------------------------------------ timers */

static bool unlist(struct sherd_timer **at, struct sherd_timer *t)
{
	for (; *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			return true;
		}
	return false;
}

static void set_timer(struct sherd_net *n, struct sherd_timer *t)
{
	struct sherd_io_loop *l = sherd_io_of(n);
	struct sherd_timer **at = &l->timers;

	if (!unlist(&l->timers, t))
		unlist(&l->due, t);
	if (!t->when)
		return;
	while (*at && (*at)->when <= t->when)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
}

/* Those due now, each once: one that is set anew for a time past has its turn in the next round. */
static void fire_timers(struct sherd_io_loop *l)
{
	uint64_t now = sherd_net_now(&l->pub.net);
	struct sherd_timer **end = &l->timers, *t;

	while (*end && (*end)->when <= now)
		end = &(*end)->next;
	if (end == &l->timers)
		return;
	l->due = l->timers;
	l->timers = *end;
	*end = NULL;
	while ((t = l->due)) {
		l->due = t->next;
		t->when = 0;
		t->fire(t->ctx);
		sherd_io_settle(l);
	}
}

static uint64_t net_now(struct sherd_net *n)
{
	(void)n;
	return (uint64_t)(sherd_now() * 1e6);
}

static const struct sherd_net_ops net_ops = {
	.now = net_now,
	.dial = sherd_dial,
	.send = sherd_out_send,
	.queued = sherd_out_queued,
	.hang_up = sherd_conn_hang_up,
	.timer = set_timer,
};

/* ----------------------------------------------------------- other threads */

/*
 * Sleeping is announced before the last look for work, work is left before the look for a sleeper.
 */
static void wake(struct sherd_io_loop *l)
{
	uint64_t one = 1;

	if (__atomic_exchange_n(&l->sleeping, false, __ATOMIC_SEQ_CST))
		while (write(l->wake, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

void sherd_loop_stop(struct sherd_loop *pub)
{
	struct sherd_io_loop *l = (struct sherd_io_loop *)pub;

	__atomic_store_n(&l->stopping, true, __ATOMIC_SEQ_CST);
	wake(l);
}

int sherd_loop_post(struct sherd_loop *pub, void (*fn)(void *arg), void *arg)
{
	struct sherd_io_loop *l = (struct sherd_io_loop *)pub;
	struct sherd_post *p = sherd_calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->fn = fn;
	p->arg = arg;
	p->next = __atomic_load_n(&l->posted, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&l->posted, &p->next, p, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
	wake(l);
	return 0;
}

void sherd_io_sleep(struct sherd_io_loop *l)
{
	pthread_mutex_lock(&l->turn);
	l->asleep = true;
	pthread_mutex_unlock(&l->turn);
}

void sherd_io_awake(struct sherd_io_loop *l)
{
	pthread_mutex_lock(&l->turn);
	l->asleep = false;
	pthread_mutex_unlock(&l->turn);
}

/* Timers and what sockets want are looked at before sleeping: so it wakes up afterwards, to do so. */
int sherd_loop_visit(struct sherd_loop *pub, void (*fn)(void *arg), void *arg)
{
	struct sherd_io_loop *l = (struct sherd_io_loop *)pub;
	bool asleep;

	if (!l->ops->visits || pthread_mutex_trylock(&l->turn))
		return sherd_loop_post(pub, fn, arg);
	asleep = l->asleep;
	if (asleep) {
		fn(arg);
		sherd_io_settle(l);
	}
	pthread_mutex_unlock(&l->turn);
	if (!asleep)
		return sherd_loop_post(pub, fn, arg);
	wake(l);
	return 0;
}

static bool has_work(struct sherd_io_loop *l)
{
	return __atomic_load_n(&l->posted, __ATOMIC_SEQ_CST) ||
	       __atomic_load_n(&l->stopping, __ATOMIC_SEQ_CST);
}

static void run_posted(struct sherd_io_loop *l)
{
	struct sherd_post *last = __atomic_exchange_n(&l->posted, NULL, __ATOMIC_SEQ_CST);
	struct sherd_post *first = NULL, *p;

	while ((p = last)) {
		last = p->next;
		p->next = first;
		first = p;
	}
	while ((p = first)) {
		first = p->next;
		p->fn(p->arg);
		free(p);
		sherd_io_settle(l);
	}
}

/* --------------------------------------------------------------- the round */

void sherd_io_settle(struct sherd_io_loop *l)
{
	struct sherd_conn *c;

	do {
		while ((c = l->dirty)) {
			l->dirty = c->dirty_next;
			if (!l->dirty)
				l->dirty_end = &l->dirty;
			c->dirty = false;
			sherd_conn_settle(c);
		}
	} while (sherd_out_release(l) || l->dirty);
}

static int64_t until_timer(struct sherd_io_loop *l)
{
	uint64_t now;

	if (!l->timers)
		return -1;
	now = sherd_net_now(&l->pub.net);
	return l->timers->when > now ? (int64_t)(l->timers->when - now) : 0;
}

static int wait(struct sherd_io_loop *l, int64_t us)
{
	int rc;

	__atomic_store_n(&l->sleeping, true, __ATOMIC_SEQ_CST);
	rc = l->ops->wait(l, has_work(l) ? 0 : us);
	__atomic_store_n(&l->sleeping, false, __ATOMIC_RELAXED);
	return rc;
}

static int once(struct sherd_io_loop *l, int64_t at_most)
{
	int64_t us;
	int rc;

	run_posted(l);
	fire_timers(l);
	sherd_io_settle(l);
	us = until_timer(l);
	if (at_most >= 0 && (us < 0 || us > at_most))
		us = at_most;
	rc = wait(l, us);
	return rc == -EINTR ? 0 : rc;
}

int sherd_loop_run(struct sherd_loop *pub, struct sherd_error *err)
{
	struct sherd_io_loop *l = (struct sherd_io_loop *)pub;
	int rc = 0;

	sherd_io_settle(l);
	while (rc >= 0 && !__atomic_load_n(&l->stopping, __ATOMIC_SEQ_CST))
		rc = once(l, -1);
	__atomic_store_n(&l->stopping, false, __ATOMIC_SEQ_CST);
	if (rc >= 0)
		return 0;
	return sherd_fail(err, rc, "%s: can't wait for sockets any more: %s", rungs[pub->io].name,
			  strerror(-rc));
}

/* ------------------------------------------------------------ from end to end */

static void set_defaults(struct sherd_loop_params *p)
{
	p->tls_ops = p->tls_ops ? p->tls_ops : &sherd_tls_filter;
	p->zc_bytes = p->zc_bytes ? p->zc_bytes : 32u << 10;
	p->max_links = p->max_links ? p->max_links : 256;
	p->max_strangers = p->max_strangers ? p->max_strangers : 32;
	p->connect_ms = p->connect_ms ? p->connect_ms : 3000;
	p->stranger_ms = p->stranger_ms ? p->stranger_ms : 5000;
	p->hang_up_ms = p->hang_up_ms ? p->hang_up_ms : 1000;
	p->entries = p->entries ? p->entries : 256;
	p->n_buffers = p->n_buffers ? p->n_buffers : 64;
	p->buffer_size = p->buffer_size ? p->buffer_size : 32u << 10;
}

static int open_rung(struct sherd_io_loop *l, struct sherd_error *err)
{
	int rc = -EINVAL;

	if (!sherd_io_known(l->p.io))
		return sherd_fail(err, -EINVAL,
				  "there is no way to drive sockets named \"%s\": auto, uring-zc, "
				  "uring-5.19, uring, epoll", l->p.io);
	for (int i = 0; i < SHERD_N_IOS; i++) {
		if (!is_auto(l->p.io) && strcmp(l->p.io, rungs[i].name))
			continue;
		l->ops = rungs[i].ops;
		l->pub.io = i;
		rc = l->ops->open(l, err);
		if (!rc)
			return 0;
		sherd_fail_prefix(err, rc, "%s", rungs[i].name);
		if (err)
			l->pub.refused[i] = *err;
	}
	l->ops = NULL;
	return rc;
}

int sherd_loop_create(struct sherd_loop **out, const struct sherd_loop_params *params,
		      struct sherd_error *caller_err)
{
	struct sherd_io_loop *l = sherd_calloc(1, sizeof(*l));
	struct sherd_error err = { "" };
	int rc;

	*out = NULL;
	if (!l)
		return sherd_fail_oom(caller_err, sizeof(*l), "a network loop");
	l->p = *params;
	set_defaults(&l->p);
	l->pub.net.ops = &net_ops;
	l->dirty_end = &l->dirty;
	pthread_mutex_init(&l->turn, NULL);
	sherd_outs_init(&l->released);
	sherd_outs_init(&l->kernels);
	l->wake = eventfd(0, EFD_CLOEXEC);
	if (l->wake < 0)
		rc = sherd_fail(&err, -errno, "no event descriptor: %s", strerror(errno));
	else
		rc = open_rung(l, &err);
	if (!rc) {
		*out = &l->pub;
		return 0;
	}
	if (l->wake >= 0)
		close(l->wake);
	free(l);
	return sherd_fail(caller_err, rc, "%s", err.msg);
}

/*
 * What the kernel will not let go of: nothing of it goes out any more, since its sockets are
 * closed. And what is posted by what was posted, without end.
 */
static void release_all(struct sherd_io_loop *l)
{
	struct sherd_post *p, *next;
	struct sherd_out *o;

	for (p = l->posted; p; p = next) {
		next = p->next;
		free(p);
	}
	while ((o = l->kernels.first)) {
		o->readers = 1;
		sherd_out_let_go(o, false);
	}
	sherd_out_release(l);
}

void sherd_loop_free(struct sherd_loop *pub)
{
	struct sherd_io_loop *l = (struct sherd_io_loop *)pub;
	struct sherd_conn *c;
	uint64_t end;
	int rc = 0;

	if (!l)
		return;
	l->ending = true;
	end = sherd_net_now(&pub->net) + FREE_WAIT_US;
	do {
		for (c = l->first; c; c = c->next)
			sherd_conn_failf(c, "this side ends");
		sherd_listener_close_all(l);
		rc = once(l, l->first || l->kernels.first ? 10000 : 0);
	} while (rc >= 0 && sherd_net_now(&pub->net) < end &&
		 (l->first || l->kernels.first || has_work(l) || l->listeners));
	l->ops->close(l); /* which ends what is in flight still */
	sherd_listener_close_all(l);
	for (c = l->first; c; c = c->next) {
		c->sock.armed = c->sock.wanted = 0;
		sherd_conn_failf(c, "this side ends");
	}
	sherd_io_settle(l);
	release_all(l);
	close(l->wake);
	pthread_mutex_destroy(&l->turn);
	free(l);
}
