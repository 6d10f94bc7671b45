/* SPDX-License-Identifier: MIT */
/*
 * head: who serves which stage, and since when. sherd_head_think() is called after whatever may
 * have changed something; it compares what is with what should be, and sends what brings it nearer:
 * there is one way through it for the beginning and for every kind of loss.
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/head_plan.h"

#define PING_US	    200000u
#define LOST_US	    1000000u
#define DEADLINE_US 30000000u
#define LOAD_US	    600000000u
/* a link that broke may be there again at once, and its node never gone */
#define GRACE_US    300000u
/* so long a node that could not be reached is nobody's choice: networks heal, and nobody says so */
#define CUT_OFF_US 5000000u

void sherd_head_note(struct sherd_head *h, const char *fmt, ...)
{
	char text[SHERD_SENTENCE_MAX + 96];
	va_list ap;

	if (!h->p.note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	h->p.note(h->p.ctx, text);
}

void sherd_head_fail(struct sherd_head *h, const char *why)
{
	struct sherd_error err;

	if (h->dead)
		return;
	h->dead = true;
	sherd_fail(&err, -EIO, "%s", why);
	h->p.failed(h->p.ctx, 0, &err);
}

/* ------------------------------------------------------------ who serves */

static bool is_hung(const struct seat *seat)
{
	return seat->progress.due_us && seat->progress.busy_us > seat->progress.due_us;
}

static bool may_serve(const struct sherd_head *h, int k, const struct head_node *n)
{
	const struct seat *seat = &n->seats[k];
	const char *due = h->stages[k].bit_profile;

	if (!n->up || seat->load != LOAD_READY)
		return false;
	/* Nobody knows what an untested device's bits are, so they are nobody's but its own. */
	return h->p.inexact || !h->stages[k].node || h->stages[k].node == n ||
	       (due[0] && !strcmp(due, seat->bit_profile));
}

static bool is_cut_off(const struct head_node *n, int k)
{
	uint64_t at = n->seats[k].cut_off_at;

	return at && sherd_net_now(n->head->net) - at < CUT_OFF_US;
}

static bool is_well(const struct head_node *n, int k)
{
	return !is_hung(&n->seats[k]) && !is_cut_off(n, k);
}

/* A link broke, and nobody knows yet whether the node did, or has not said what it still has. */
static bool is_in_doubt(const struct sherd_head *h, int k, const struct head_node *n)
{
	return (!n->up || n->seats[k].load == LOAD_ASKED) && n->gone && !n->failed_dials &&
	       sherd_net_now(h->net) - n->gone < GRACE_US;
}

static struct head_node *candidate(const struct sherd_head *h, int k)
{
	const struct sherd_head_stage *plan = &h->p.stages[k];
	int i;

	for (i = 0; i < plan->n_nodes; i++) {
		struct head_node *n = &h->nodes[plan->nodes[i]];

		if (may_serve(h, k, n) && is_well(n, k))
			return n;
	}
	return NULL;
}

/* At the start the first choice is waited for, as long as it may yet be had. */
static bool is_hoped_for(const struct sherd_head *h, int k)
{
	const struct head_node *n = &h->nodes[h->p.stages[k].nodes[0]];

	return !h->was_ready && !n->failed_dials && n->seats[k].load != LOAD_REFUSED;
}

static void assign(struct sherd_head *h, int k, struct head_node *n)
{
	struct head_stage *s = &h->stages[k];
	int i;

	if (s->node) {
		sherd_head_note(h, "layers %d to %d go from %s to %s", s->plan->first,
				s->plan->end - 1, s->node->plan->name, n->plan->name);
	} else {
		memcpy(s->bit_profile, n->seats[k].bit_profile, sizeof(s->bit_profile));
	}
	if (h->was_ready)
		h->recoveries++;
	/* Whom the old one could not reach the new one may. */
	for (i = 0; k + 1 < h->p.n_stages && i < h->p.n_nodes; i++)
		h->nodes[i].seats[k + 1].cut_off_at = 0;
	s->node = n;
	s->routed = false;
	n->seats[k].route_id = 0;
}

/* True: somebody serves stage @k, well or not. */
static bool find_server(struct sherd_head *h, int k)
{
	struct head_node *now = h->stages[k].node, *n;

	if (now && may_serve(h, k, now) && is_well(now, k))
		return true;
	if (now ? is_in_doubt(h, k, now) :
		  is_hoped_for(h, k) && candidate(h, k) != &h->nodes[h->p.stages[k].nodes[0]])
		return false;
	n = candidate(h, k);
	if (n && n != now)
		assign(h, k, n);
	return n || (now && may_serve(h, k, now));
}

/* Whoever is up and may serve a stage some day loads it today: recovery does not wait for that. */
static void load_all(struct sherd_head *h)
{
	int k, i;

	for (k = 0; k < h->p.n_stages; k++)
		for (i = 0; i < h->p.stages[k].n_nodes; i++) {
			struct head_node *n = &h->nodes[h->p.stages[k].nodes[i]];

			if (n->up && n->seats[k].load == LOAD_NONE)
				sherd_head_load(n, k);
		}
}

/*
 * Whoever has a stage that another node serves lets go of its sessions: when it is lost, as soon as
 * it is back, be it this head that it served or one before. While nobody serves the stage, they may
 * still be wanted.
 */
static void drop_strays(struct sherd_head *h)
{
	int k, i;

	for (k = 0; k < h->p.n_stages; k++)
		for (i = 0; h->stages[k].node && i < h->p.n_nodes; i++) {
			struct head_node *n = &h->nodes[i];

			if (n != h->stages[k].node && n->up && n->seats[k].taken)
				sherd_head_drop(n, k);
		}
}

/* -------------------------------------------------------------- epochs */

static void begin_epoch(struct sherd_head *h)
{
	int k;

	h->epoch = MAX(h->epoch, h->known_epoch) + 1;
	sherd_head_data_drop(h, "a new epoch begins");
	for (k = h->p.n_stages - 1; k >= 0; k--)
		sherd_head_route(h, k);
	h->routing = true;
}

static bool all_routed(const struct sherd_head *h)
{
	int k;

	for (k = 0; k < h->p.n_stages; k++)
		if (!h->stages[k].routed)
			return false;
	return true;
}

/* Has this epoch to be followed by another one? Routes on their way are waited for. */
static bool is_stale(const struct sherd_head *h)
{
	int k;

	if (!h->epoch)
		return true;
	for (k = 0; k < h->p.n_stages; k++)
		if (!h->stages[k].routed && !h->stages[k].node->seats[k].route_id)
			return true;
	return false;
}

/*
 * A stage that has not reached the next one for long: the next one is cut off, be it well or not.
 * If nobody else can take its place, it may be the stage before that reaches nobody.
 */
static void look_at_hop(struct sherd_head *h, int k)
{
	struct seat *seat = seat_of(h, k), *next = seat_of(h, k + 1);

	if (!seat->progress.cut_off_us)
		next->cut_off_at = 0;
	if (seat->progress.cut_off_us <= h->p.lost_us)
		return;
	if (!is_cut_off(h->stages[k + 1].node, k + 1))
		sherd_head_note(h, "%s cannot reach %s", h->stages[k].node->plan->name,
				h->stages[k + 1].node->plan->name);
	next->cut_off_at = sherd_net_now(h->net);
	if (!candidate(h, k + 1))
		seat->cut_off_at = next->cut_off_at;
}

/*
 * Of hops that there should be: whoever is not there himself, or was not until now, is reached by
 * nobody.
 */
static void look_for_cuts(struct sherd_head *h)
{
	const struct head_stage *s = h->stages;
	int k;

	for (k = 0; k + 1 < h->p.n_stages; k++)
		if (s[k].node && s[k + 1].node && s[k].routed && s[k + 1].routed &&
		    s[k + 1].node->up)
			look_at_hop(h, k);
}

/* ------------------------------------------------------------ giving up */

static const char *state_of(const struct head_node *n, int k)
{
	if (!n->up)
		return n->why.msg[0] ? n->why.msg : "it does not answer";
	if (n->seats[k].load == LOAD_REFUSED)
		return n->seats[k].reply.error;
	if (n->seats[k].load != LOAD_READY)
		return "it is still loading the layers";
	if (is_hung(&n->seats[k]))
		return "its device hangs";
	if (is_cut_off(n, k))
		return "the stage before cannot reach it";
	return "its bit profile is another one";
}

static void give_up(struct sherd_head *h, int k, const char *for_how_long)
{
	const struct sherd_head_stage *plan = &h->p.stages[k];
	char why[SHERD_SENTENCE_MAX], *at = why, *end = why + sizeof(why);
	int i;

	at += snprintf(at, (size_t)(end - at), "nobody can serve layers %d to %d%s", plan->first,
		       plan->end - 1, for_how_long);
	for (i = 0; i < plan->n_nodes && at < end; i++) {
		const struct head_node *n = &h->nodes[plan->nodes[i]];

		at += snprintf(at, (size_t)(end - at), "%s %s: %s", i ? ";" : ":", n->plan->name,
			       state_of(n, k));
	}
	sherd_head_fail(h, why);
}

/* No node will ever serve it. */
static bool is_hopeless(const struct sherd_head *h, int k)
{
	const struct sherd_head_stage *plan = &h->p.stages[k];
	int i;

	for (i = 0; i < plan->n_nodes; i++) {
		const struct head_node *n = &h->nodes[plan->nodes[i]];

		if (!n->refuses && n->seats[k].load != LOAD_REFUSED)
			return false;
	}
	return true;
}

static bool is_loading(const struct sherd_head *h, int k)
{
	const struct sherd_head_stage *plan = &h->p.stages[k];
	int i;

	for (i = 0; i < plan->n_nodes; i++) {
		const struct head_node *n = &h->nodes[plan->nodes[i]];

		if (n->up && n->seats[k].load == LOAD_ASKED)
			return true;
	}
	return false;
}

/* A stage whose device hangs, and which nobody takes over; -1: there is none. */
static int find_hung(const struct sherd_head *h)
{
	for (int k = 0; k < h->p.n_stages; k++)
		if (is_hung(seat_of(h, k)))
			return k;
	return -1;
}

static void give_up_idle(struct sherd_head *h, uint64_t waited, const char *how_long)
{
	int hung = find_hung(h);
	char why[128];

	if (hung >= 0) {
		give_up(h, hung, how_long);
		return;
	}
	snprintf(why, sizeof(why), "no stage has computed anything for %.0f s, though all answer",
		 (double)waited * 1e-6);
	sherd_head_fail(h, why);
}

static void check_deadline(struct sherd_head *h, int unserved)
{
	uint64_t waited = sherd_net_now(h->net) - h->progress_at;
	char how_long[64];

	snprintf(how_long, sizeof(how_long), ", after %.0f s", (double)waited * 1e-6);
	if (unserved >= 0) {
		if (is_hopeless(h, unserved))
			give_up(h, unserved, "");
		else if (waited > (is_loading(h, unserved) && !h->was_ready ? h->p.load_us :
									      h->p.deadline_us))
			give_up(h, unserved, how_long);
		return;
	}
	if (!sherd_head_waiting(h))
		h->progress_at = sherd_net_now(h->net);
	else if (waited > h->p.deadline_us)
		give_up_idle(h, waited, how_long);
}

/*
 * A process that was stopped, or got no processor, has heard nobody for that long and asked nobody:
 * the silence is its own, and no node is lost for it.
 */
static void excuse_own_silence(struct sherd_head *h)
{
	uint64_t now = sherd_net_now(h->net), gap = now - h->awake;
	int i;

	h->awake = now;
	if (gap <= 2 * h->p.ping_us)
		return;
	for (i = 0; i < h->p.n_nodes; i++)
		h->nodes[i].heard = MIN(h->nodes[i].heard + gap, now);
	h->data_heard = MIN(h->data_heard + gap, now);
	h->progress_at = MIN(h->progress_at + gap, now);
}

void sherd_head_think(struct sherd_head *h)
{
	int k, unserved = -1;

	if (h->dead)
		return;
	excuse_own_silence(h);
	load_all(h);
	look_for_cuts(h);
	for (k = 0; k < h->p.n_stages; k++)
		if (!find_server(h, k) && unserved < 0)
			unserved = k;
	drop_strays(h);
	if (unserved < 0 && is_stale(h))
		begin_epoch(h);
	if (unserved < 0 && h->routing && all_routed(h)) {
		h->routing = false;
		sherd_head_data_dial(h);
		if (!h->was_ready) {
			h->was_ready = true;
			h->progress_at = sherd_net_now(h->net);
			h->p.ready(h->p.ctx);
		}
	}
	check_deadline(h, unserved);
}

/* ---------------------------------------------------------- the head */

static void tick(void *ctx)
{
	struct sherd_head *h = ctx;
	int i;

	sherd_timer_after(h->net, &h->tick, h->p.ping_us);
	excuse_own_silence(h);
	for (i = 0; i < h->p.n_nodes; i++)
		sherd_head_ping(&h->nodes[i]);
	sherd_head_data_beat(h);
	sherd_head_think(h);
}

static void redial(void *ctx)
{
	struct sherd_head *h = ctx;

	if (!h->dead && !h->data && h->stages[0].node)
		sherd_head_data_dial(h);
}

int sherd_head_new(struct sherd_head **head, const struct sherd_head_params *p,
		   struct sherd_error *err)
{
	struct sherd_head *h = sherd_calloc(1, sizeof(*h));
	int k, rc = 0;

	*head = NULL;
	if (!h)
		return sherd_fail_oom(err, sizeof(*h), "a head");
	h->p = *p;
	h->net = p->net;
	h->p.ping_us = p->ping_us ? p->ping_us : PING_US;
	h->p.lost_us = p->lost_us ? p->lost_us : LOST_US;
	h->p.deadline_us = p->deadline_us ? p->deadline_us : DEADLINE_US;
	h->p.load_us = p->load_us ? p->load_us : LOAD_US;
	h->p.window = p->window ? p->window : 4 * p->chunk;
	h->progress_at = h->awake = sherd_net_now(h->net);
	h->tick = (struct sherd_timer){ .fire = tick, .ctx = h };
	h->redial = (struct sherd_timer){ .fire = redial, .ctx = h };
	h->stages = sherd_calloc((size_t)p->n_stages, sizeof(*h->stages));
	if (!h->stages)
		rc = sherd_fail_oom(err, (size_t)p->n_stages * sizeof(*h->stages),
				    "a plan's stages");
	for (k = 0; !rc && k < p->n_stages; k++)
		h->stages[k].plan = &p->stages[k];
	rc = rc ? rc : sherd_head_nodes_init(h, err);
	if (rc) {
		sherd_head_free(h);
		return rc;
	}
	sherd_timer_after(h->net, &h->tick, h->p.ping_us);
	*head = h;
	return 0;
}

void sherd_head_free(struct sherd_head *h)
{
	if (!h)
		return;
	sherd_head_sessions_free(h);
	sherd_timer_stop(h->net, &h->tick);
	sherd_head_data_drop(h, "the run has ended");
	sherd_head_nodes_free(h);
	free(h->stages);
	free(h);
}

void sherd_head_stage_status(const struct sherd_head *h, int stage, struct sherd_head_status *s)
{
	const struct seat *seat = seat_of(h, stage);

	*s = (struct sherd_head_status){ 0 };
	if (!seat)
		return;
	s->node = h->stages[stage].node->plan->name;
	s->progress = seat->progress;
	s->at = seat->progress_at;
}

int sherd_head_recoveries(const struct sherd_head *h)
{
	return h->recoveries;
}

void sherd_head_shape(const struct sherd_head *h, int *n_layers, int *hidden,
		      const char **bit_profile)
{
	const struct seat *seat = seat_of(h, 0);

	*n_layers = seat ? seat->reply.n_layers : 0;
	*hidden = seat ? seat->reply.hidden : 0;
	*bit_profile = h->stages[0].bit_profile;
}
