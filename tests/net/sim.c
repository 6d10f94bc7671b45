/* SPDX-License-Identifier: MIT */
/*
 * sim: events in a heap, ordered by time and then by when they were made, so that a seed always
 * gives the same story.
 */
#include <stdio.h>
#include <stdlib.h>
#include "sim.h"

#define TCP_PATIENCE_US 10000000u /* after which a link that gets nothing through is down */
#define DIAL_US		3000000u
#define HANG_UP_US	1000000u /* for what is queued when somebody hangs up */

struct sim_event {
	uint64_t when, number;
	int host, life; /* of the host when the event was made */
	void (*fn)(void *);
	void *arg;
	void (*dropped)(void *); /* instead of fn, if the host has died */
};

/* Bytes on their way. */
struct packet {
	struct packet *next;
	size_t size, at;
	uint64_t due; /* when its last byte is there */
	uint8_t bytes[];
};

/* One end. What is sent here, the other end's user gets. */
struct sim_link {
	struct sherd_link base;
	struct sim *sim;
	struct sim_link *next; /* sim->links */
	struct sim_host *host;
	int life; /* of the host */
	int to; /* the other host's number */
	struct sim_link *other; /* NULL: not connected, or not any more */
	struct sherd_reader reader;
	uint64_t sequence;
	struct packet *first, *last; /* sent, not delivered */
	size_t queued;
	struct packet *held; /* a frame that the next one overtakes */
	uint64_t blocked_since, line_free;
	bool pumping; /* a delivery is due */
	bool going; /* down() is due, or has been */
	bool told;
	bool closing; /* when all is delivered, the other end hears of it */
	int refs; /* events, and not having been told */
	struct sherd_error why;
};

uint64_t sim_random(struct sim *s, uint64_t below)
{
	uint64_t z = s->seed += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? z % below : z;
}

static bool chance(struct sim *s, uint32_t millionths)
{
	return millionths && sim_random(s, 1000000) < millionths;
}

/* --------------------------------------------------------------- events */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->when < b->when || (a->when == b->when && a->number < b->number);
}

static void push(struct sim *s, struct sim_event *e)
{
	size_t i = s->n_events++;

	if (s->n_events > s->room) {
		s->room = 2 * s->room + 64;
		s->heap = realloc(s->heap, s->room * sizeof(struct sim_event *));
		if (!s->heap)
			abort();
	}
	for (; i && earlier(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct sim_event *pop(struct sim *s)
{
	struct sim_event *top = s->heap[0], *last = s->heap[--s->n_events];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < s->n_events) {
		if (child + 1 < s->n_events && earlier(s->heap[child + 1], s->heap[child]))
			child++;
		if (!earlier(s->heap[child], last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	if (s->n_events)
		s->heap[i] = last;
	return top;
}

static void at(struct sim *s, uint64_t when, int host, int life, void (*fn)(void *), void *arg,
	       void (*dropped)(void *))
{
	struct sim_event *e = malloc(sizeof(*e));

	if (!e)
		abort();
	*e = (struct sim_event){ .when = MAX(when, s->now), .number = s->n_made++, .host = host,
				 .life = life, .fn = fn, .arg = arg, .dropped = dropped };
	push(s, e);
}

void sim_at(struct sim *s, uint64_t when, int host, void (*fn)(void *), void *arg)
{
	at(s, when, host, host < 0 ? 0 : s->hosts[host].life, fn, arg, NULL);
}

static struct sherd_timer *next_timer(struct sim *s, struct sim_host **host)
{
	struct sherd_timer *best = NULL, *t;
	uint64_t best_when = UINT64_MAX;

	for (int i = 0; i < SIM_HOSTS; i++)
		for (t = s->hosts[i].timers; t; t = t->next) {
			uint64_t when = MAX(t->when, s->hosts[i].paused_until);

			if (when < best_when) {
				best = t;
				best_when = when;
				*host = &s->hosts[i];
			}
		}
	return best;
}

static void unarm(struct sim_host *h, struct sherd_timer *t)
{
	struct sherd_timer **p = &h->timers;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
}

static void run_event(struct sim *s, struct sim_event *e)
{
	struct sim_host *h = e->host < 0 ? NULL : &s->hosts[e->host];

	if (h && e->life != h->life) {
		if (e->dropped)
			e->dropped(e->arg);
	} else if (h && h->paused_until > s->now) {
		e->when = h->paused_until;
		e->number = s->n_made++;
		push(s, e);
		return;
	} else {
		e->fn(e->arg);
	}
	free(e);
}

bool sim_step(struct sim *s, uint64_t until)
{
	struct sim_host *host = NULL;
	struct sherd_timer *t = next_timer(s, &host);
	uint64_t timer = t ? MAX(t->when, host->paused_until) : UINT64_MAX;
	uint64_t event = s->n_events ? s->heap[0]->when : UINT64_MAX;

	if (MIN(timer, event) > until) {
		s->now = MAX(s->now, until);
		return false;
	}
	s->now = MAX(s->now, MIN(timer, event));
	if (timer <= event) {
		unarm(host, t);
		t->when = 0;
		t->fire(t->ctx);
	} else {
		run_event(s, pop(s));
	}
	return true;
}

void sim_go(struct sim *s, uint64_t us)
{
	for (uint64_t until = s->now + us; sim_step(s, until);)
		;
}

bool sim_run(struct sim *s, uint64_t until, bool (*done)(void *), void *arg)
{
	while (!done(arg))
		if (!sim_step(s, until))
			return done(arg);
	return true;
}

/* ---------------------------------------------------------------- links */

static void put_link(void *arg)
{
	struct sim_link *l = arg, **at;
	struct packet *p;

	if (--l->refs)
		return;
	while ((p = l->first)) {
		l->first = p->next;
		free(p);
	}
	free(l->held);
	sherd_reader_destroy(&l->reader);
	for (at = &l->sim->links; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	l->sim->n_links--;
	free(l);
}

/* An event that concerns a link keeps it until then. */
static void link_at(struct sim_link *l, uint64_t when, void (*fn)(void *))
{
	l->refs++;
	at(l->sim, when, l->host->number, l->life, fn, l, put_link);
}

static uint64_t latency(struct sim *s)
{
	return s->faults.latency_us +
	       (s->faults.jitter_us ? sim_random(s, s->faults.jitter_us) : 0);
}

static void tell_down(void *arg)
{
	struct sim_link *l = arg;

	if (l->told) {
		put_link(l);
		return;
	}
	l->told = true;
	l->base.user->down(l->base.ctx, &l->base, &l->why);
	put_link(l); /* for not having been told */
	put_link(l);
}

static void go_down(struct sim_link *l, uint64_t when, const char *why)
{
	if (l->going)
		return;
	l->going = true;
	sherd_reader_stop(&l->reader);
	sherd_fail(&l->why, -EIO, "%s", why);
	link_at(l, when, tell_down);
}

/* The other end learns of it, unless nothing gets there. */
static void lose_other(struct sim_link *l, const char *why)
{
	struct sim_link *o = l->other;

	l->other = NULL;
	if (!o)
		return;
	o->other = NULL;
	if (!l->sim->blocked[l->host->number][l->to])
		go_down(o, l->sim->now + latency(l->sim), why);
	else
		go_down(o, l->sim->now + TCP_PATIENCE_US, "the connection timed out");
}

static void pump(void *arg);

static void pump_later(struct sim_link *l, uint64_t when)
{
	if (l->pumping)
		return;
	l->pumping = true;
	link_at(l, when, pump);
}

/* Some of what was sent arrives at the other end. */
static void deliver(struct sim_link *l)
{
	struct sim *s = l->sim;
	struct sim_link *o = l->other;
	struct packet *p = l->first;
	size_t n = p->size - p->at;
	struct sherd_error err;

	if (s->faults.chop && n > 1)
		n = 1 + sim_random(s, sim_random(s, 4) ? n : 3) % n;
	o->refs++;
	if (sherd_reader_feed(&o->reader, &o->base, p->bytes + p->at, n, &err)) {
		go_down(o, s->now, err.msg);
		lose_other(o, "the connection was reset");
	}
	p->at += n;
	l->queued -= n;
	if (p->at == p->size) {
		l->first = p->next;
		if (!l->first)
			l->last = NULL;
		free(p);
	}
	put_link(o);
}

/* Runs on the receiving host's behalf; a paused one reads nothing. */
static void pump(void *arg)
{
	struct sim_link *l = arg;
	struct sim *s = l->sim;

	l->pumping = false;
	if (!l->other || !l->first) {
		put_link(l);
		return;
	}
	if (s->hosts[l->to].paused_until > s->now) {
		pump_later(l, s->hosts[l->to].paused_until);
	} else if (s->blocked[l->host->number][l->to] || s->blocked[l->to][l->host->number]) {
		/* without acknowledgements nothing gets through either */
		if (!l->blocked_since)
			l->blocked_since = s->now;
		if (s->now - l->blocked_since > TCP_PATIENCE_US) {
			go_down(l, s->now, "the connection timed out");
			lose_other(l, "the connection timed out");
		} else {
			pump_later(l, s->now + 50000);
		}
	} else {
		l->blocked_since = 0;
		deliver(l);
		if (l->first)
			pump_later(l, MAX(l->first->due,
					  s->now + (s->faults.chop ? sim_random(s, 50) : 0)));
		else if (l->closing) {
			lose_other(l, "the other side hung up");
			link_at(l, s->now, tell_down);
		}
	}
	put_link(l);
}

static void enqueue(struct sim_link *l, struct packet *p)
{
	struct sim *s = l->sim;

	p->next = NULL;
	if (l->last)
		l->last->next = p;
	else
		l->first = p;
	l->last = p;
	l->queued += p->size;
	s->n_frames++;
	p->due = s->now;
	if (s->faults.bytes_per_ms) {
		l->line_free = MAX(l->line_free, s->now) + p->size * 1000 / s->faults.bytes_per_ms;
		p->due = l->line_free;
	}
	p->due += latency(s);
	pump_later(l, p->due);
}

static struct packet *copy_packet(const struct packet *p)
{
	struct packet *c = malloc(sizeof(*c) + p->size);

	if (!c)
		abort();
	memcpy(c, p, sizeof(*c) + p->size);
	return c;
}

/* What may happen to a frame on its way. */
static void mistreat(struct sim_link *l, struct packet *p)
{
	struct sim *s = l->sim;

	if (chance(s, s->faults.damage))
		p->bytes[sim_random(s, p->size)] ^= (uint8_t)(1 << sim_random(s, 8));
	if (chance(s, s->faults.drop)) {
		free(p);
		return;
	}
	if (chance(s, s->faults.twice))
		enqueue(l, copy_packet(p));
	if (!l->held && chance(s, s->faults.swap)) {
		l->held = p;
		return;
	}
	enqueue(l, p);
	if (l->held) {
		enqueue(l, l->held);
		l->held = NULL;
	}
	if (chance(s, s->faults.reset)) {
		go_down(l, s->now + 1, "the connection was reset");
		lose_other(l, "the connection was reset");
	}
}

static void sim_send(struct sherd_link *base, const struct sherd_frame *f,
		     const struct sherd_payload *p)
{
	struct sim_link *l = (struct sim_link *)base;
	struct packet *k;

	l->sim->n_from_slots += p->slot >= 0;
	if (!l->going && l->life == l->host->life) {
		k = calloc(1, sizeof(*k) + sherd_frame_size(p->size));
		if (!k)
			abort();
		k->size = sherd_frame_size(p->size);
		sherd_frame_stamp(f, l->sequence++, p->data, p->size, k->bytes);
		if (p->size)
			memcpy(k->bytes + SHERD_FRAME_HEADER, p->data, p->size);
		base->frames_out++;
		base->bytes_out += k->size;
		mistreat(l, k);
	}
	if (p->done)
		p->done(p->arg);
}

static size_t sim_queued(const struct sherd_link *base)
{
	return ((const struct sim_link *)base)->queued;
}

static void sim_hang_up(struct sherd_link *base, const char *why)
{
	struct sim_link *l = (struct sim_link *)base;
	struct sim *s = l->sim;

	if (l->going)
		return;
	l->closing = true;
	if (!l->first)
		lose_other(l, "the other side hung up");
	/* The user hears of it when its bytes are out, or late; the link lives on till then. */
	go_down(l, s->now + (l->first ? HANG_UP_US : 0), why);
}

static uint64_t sim_now(struct sherd_net *n)
{
	return ((struct sim_host *)n)->sim->now;
}

static void sim_timer(struct sherd_net *n, struct sherd_timer *t)
{
	struct sim_host *h = (struct sim_host *)n;

	unarm(h, t);
	if (!t->when)
		return;
	t->next = h->timers;
	h->timers = t;
}

static struct sim_link *new_link(struct sim *s, int host, int to)
{
	struct sim_link *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->sim = s;
	l->host = &s->hosts[host];
	l->to = to;
	l->refs = 1;
	l->life = l->host->life;
	l->next = s->links;
	s->links = l;
	l->base.net = &l->host->net;
	snprintf(l->base.address, sizeof(l->base.address), "host:%d", to);
	s->n_links++;
	return l;
}

/* Whether, and how, a dialled link comes about is decided when the answer is back. */
static void connect_now(void *arg)
{
	struct sim_link *l = arg, *o;
	struct sim *s = l->sim;
	struct sim_host *to = &s->hosts[l->to];
	bool blocked = s->blocked[l->host->number][l->to] || s->blocked[l->to][l->host->number];

	if (l->going) {
		/* hung up meanwhile */
	} else if (blocked || to->paused_until > s->now) {
		if (s->now - l->blocked_since > DIAL_US)
			go_down(l, s->now, "the connection timed out");
		else
			link_at(l, s->now + 20000, connect_now);
	} else if (!to->alive || !to->net.accepted) {
		go_down(l, s->now, "connection refused");
	} else {
		o = new_link(s, l->to, l->host->number);
		o->other = l;
		l->other = o;
		l->blocked_since = 0;
		o->base.user = &sherd_deaf;
		to->net.accepted(to->net.accepted_ctx, &o->base);
		l->base.user->up(l->base.ctx, &l->base);
	}
	put_link(l);
}

static int sim_dial(struct sherd_net *n, const char *address, const char *name,
		    const struct sherd_link_user *user, void *ctx, struct sherd_link **link,
		    struct sherd_error *err)
{
	struct sim_host *h = (struct sim_host *)n;
	struct sim_link *l;
	int to;

	(void)name;
	if (sscanf(address, "host:%d", &to) != 1 || to < 0 || to >= SIM_HOSTS)
		return sherd_fail(err, -EINVAL, "%s is no host's address", address);
	l = new_link(h->sim, h->number, to);
	l->base.user = user;
	l->base.ctx = ctx;
	l->blocked_since = h->sim->now;
	*link = &l->base;
	link_at(l, h->sim->now + 2 * latency(h->sim), connect_now);
	return 0;
}

static const struct sherd_net_ops ops = { sim_now,    sim_dial,	   sim_send,
					  sim_queued, sim_hang_up, sim_timer };

/* ---------------------------------------------------------------- hosts */

void sim_init(struct sim *s, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->now = 1000000;
	for (int i = 0; i < SIM_HOSTS; i++) {
		s->hosts[i].sim = s;
		s->hosts[i].number = i;
		s->hosts[i].net.ops = &ops;
	}
}

struct sherd_net *sim_start(struct sim *s, int host)
{
	s->hosts[host].alive = true;
	return &s->hosts[host].net;
}

/* Not told, and never will be: its process is no more. */
static void bury(struct sim_link *l)
{
	struct packet *p;

	l->refs++;
	while ((p = l->first)) {
		l->first = p->next;
		free(p);
	}
	l->last = NULL;
	lose_other(l, "the connection was reset");
	sherd_reader_stop(&l->reader);
	l->going = true;
	if (!l->told) {
		l->told = true;
		put_link(l);
	}
	put_link(l);
}

static struct sim_link *of_life(struct sim *s, const struct sim_host *h, int life)
{
	struct sim_link *l;

	for (l = s->links; l; l = l->next)
		if (l->host == h && l->life == life && !(l->told && !l->other && !l->first))
			return l;
	return NULL;
}

void sim_kill(struct sim *s, int host, void (*clean)(void *), void *arg)
{
	struct sim_host *h = &s->hosts[host];
	struct sim_link *l;
	int life = h->life++;

	h->alive = false;
	h->net.accepted = NULL;
	clean(arg);
	h->timers = NULL;
	h->paused_until = 0;
	while ((l = of_life(s, h, life)))
		bury(l);
}

void sim_pause(struct sim *s, int host, uint64_t us)
{
	s->hosts[host].paused_until = s->now + us;
}

void sim_block(struct sim *s, int from, int to, bool blocked)
{
	s->blocked[from][to] = blocked;
}

void sim_block_both(struct sim *s, int a, int b, bool blocked)
{
	sim_block(s, a, b, blocked);
	sim_block(s, b, a, blocked);
}

void sim_destroy(struct sim *s)
{
	struct sim_event *e;

	while (s->n_events) {
		e = pop(s);
		if (e->dropped)
			e->dropped(e->arg);
		free(e);
	}
	free(s->heap);
}

uint64_t sim_seed(void)
{
	const char *env = getenv("SHERD_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)(sherd_now() * 1e6);

	printf("# SHERD_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}
