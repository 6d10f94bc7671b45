/* SPDX-License-Identifier: MIT */
/*
 * test_push: files for a node on a simulated network, into a store in memory that takes its time
 * and can be full. Whatever happens on the way, the file that appears is the one that was sent, and
 * what was there is not sent again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "net/message.h"
#include "net/node.h"
#include "net/push.h"
#include "net/sim_stage.h"

#define FILES	3
#define FILE_MAX (5u << 20)

struct kept {
	char name[SHERD_FILE_NAME];
	uint8_t *data;
	size_t n;
	bool whole, taken;
	uint64_t sent; /* bytes written to it, ever */
};

struct mem_store {
	struct sherd_store base;
	struct sim *sim;
	struct kept files[FILES];
	struct sherd_store_job *first, *last;
	bool busy;
	size_t room;
};

struct world {
	struct sim sim;
	struct sim_stages stages;
	struct mem_store store;
	struct sherd_node *node;
	struct sherd_push *push;
	const char *address; /* who is pushed to */
	struct sherd_push_file files[FILES];
	uint8_t *data[FILES];
	int n_files;
	bool ended, ok;
	struct sherd_error err;
	uint64_t sent, last_done;
	int last_file;
};

static uint64_t base_seed;

/* ----------------------------------------------------------- the store */

static struct kept *find(struct mem_store *s, const char *name)
{
	int i;

	for (i = 0; i < FILES && s->files[i].name[0]; i++)
		if (!strcmp(s->files[i].name, name))
			return &s->files[i];
	if (i == FILES)
		abort();
	snprintf(s->files[i].name, SHERD_FILE_NAME, "%s", name);
	s->files[i].data = calloc(1, FILE_MAX);
	return &s->files[i];
}

static void finish(struct kept *k, struct sherd_store_job *job)
{
	char hex[SHERD_SHA256_HEX];

	sherd_sha256(k->data, k->n, hex);
	k->taken = false;
	k->whole = !strcmp(hex, job->offer.sha256);
	job->whole = k->whole;
	job->have = k->n;
	if (k->whole)
		return;
	k->n = 0;
	job->rc = sherd_fail(&job->err, -EBADMSG, "%s has come as another file", job->offer.name);
}

static void do_job(struct mem_store *s, struct sherd_store_job *job)
{
	struct kept *k = job->kind == SHERD_STORE_OFFER ? find(s, job->offer.name) : job->file;

	switch (job->kind) {
	case SHERD_STORE_OFFER:
		if (k->taken) {
			job->rc = sherd_fail(&job->err, -EBUSY, "it is on its way already");
			return;
		}
		job->whole = k->whole;
		job->have = k->n;
		job->file = k;
		k->taken = !k->whole;
		break;
	case SHERD_STORE_WRITE:
		if (k->n + job->size > s->room) {
			job->rc = sherd_fail(&job->err, -ENOSPC, "the disk is full");
			return;
		}
		memcpy(k->data + k->n, job->data, job->size);
		k->n += job->size;
		k->sent += job->size;
		break;
	case SHERD_STORE_FINISH:
		finish(k, job);
		break;
	case SHERD_STORE_DROP:
		k->taken = false;
	}
}

static void work(void *arg)
{
	struct mem_store *s = arg;
	struct sherd_store_job *job = s->first;

	s->first = job->next;
	s->busy = s->first;
	if (s->busy)
		sim_at(s->sim, s->sim->now + sim_random(s->sim, 3000), 1, work, s);
	do_job(s, job);
	job->done(job->ctx, job);
}

static void submit(struct sherd_store *base, struct sherd_store_job *job)
{
	struct mem_store *s = (struct mem_store *)base;

	job->next = NULL;
	if (s->first)
		s->last->next = job;
	else
		s->first = job;
	s->last = job;
	if (!s->busy)
		sim_at(s->sim, s->sim->now + sim_random(s->sim, 3000), 1, work, s);
	s->busy = true;
}

/* ----------------------------------------------------------- the world */

static void progress(void *ctx, int file, uint64_t done, uint64_t total)
{
	struct world *w = ctx;

	if (file == w->last_file && done < w->last_done)
		w->last_done = 0; /* may start anew, after damage only; the hash tells */
	w->last_file = file;
	w->last_done = done;
	assert_in_range(file, 0, w->n_files - 1);
	assert_true(done <= total);
}

static void ended(void *ctx, const struct sherd_error *why, uint64_t sent)
{
	struct world *w = ctx;

	assert_false(w->ended);
	w->ended = true;
	w->ok = !why;
	w->sent = sent;
	if (why)
		w->err = *why;
}

static void begin(struct world *w, uint64_t seed)
{
	struct sherd_node_params p = { .name = "node0" };
	struct sherd_error err;

	memset(w, 0, sizeof(*w));
	w->address = "host:1";
	sim_init(&w->sim, seed);
	w->sim.faults.latency_us = 300;
	sim_stages_init(&w->stages, &w->sim, 1, 4);
	w->store = (struct mem_store){ .base.submit = submit, .sim = &w->sim, .room = FILE_MAX };
	p.net = sim_start(&w->sim, 1);
	p.source = sim_stages_source(&w->stages);
	p.store = &w->store.base;
	assert_int_equal(sherd_node_new(&w->node, &p, &err), 0);
	w->n_files = 1 + (int)sim_random(&w->sim, FILES);
	for (int i = 0; i < w->n_files; i++) {
		struct sherd_push_file *f = &w->files[i];

		f->offer.size = 1 + sim_random(&w->sim, sim_random(&w->sim, 2) ? FILE_MAX : 3000);
		w->data[i] = malloc(f->offer.size);
		for (size_t b = 0; b < f->offer.size; b++)
			w->data[i][b] = (uint8_t)(b * 2654435761u >> 11) ^ (uint8_t)(b >> 8 ^ seed);
		f->data = w->data[i];
		snprintf(f->offer.name, sizeof(f->offer.name), "shard-%d.gguf", i);
		sherd_sha256(f->data, f->offer.size, f->offer.sha256);
	}
}

static void start_push(struct world *w)
{
	struct sherd_push_params p = { .net = sim_start(&w->sim, 0),
				       .name = "node0",
				       .address = w->address,
				       .files = w->files,
				       .n_files = w->n_files,
				       .progress = progress,
				       .ended = ended,
				       .ctx = w };
	struct sherd_error err;

	w->ended = false;
	assert_int_equal(sherd_push_new(&w->push, &p, &err), 0);
}

static void run(struct world *w, uint64_t us)
{
	for (uint64_t until = w->sim.now + us; !w->ended && sim_step(&w->sim, until);)
		;
}

static void settle(struct world *w)
{
	sim_go(&w->sim, 20 * SECOND);
}

static void clean(void *arg)
{
	sherd_node_free(((struct world *)arg)->node);
}

static void end(struct world *w)
{
	sherd_push_free(w->push);
	settle(w);
	for (int i = 0; i < FILES; i++)
		assert_false(w->store.files[i].taken);
	sim_kill(&w->sim, 1, clean, w);
	assert_int_equal(w->sim.n_links, 0);
	sim_destroy(&w->sim);
	for (int i = 0; i < FILES; i++) {
		free(w->data[i]);
		free(w->store.files[i].data);
	}
}

static void expect_all_there(struct world *w)
{
	if (!w->ended || !w->ok)
		printf("# %s: %s\n", w->ended ? "ended" : "out of time", w->err.msg);
	assert_true(w->ended && w->ok);
	for (int i = 0; i < w->n_files; i++) {
		const struct kept *k = find(&w->store, w->files[i].offer.name);

		assert_true(k->whole);
		assert_int_equal(k->n, w->files[i].offer.size);
		assert_memory_equal(k->data, w->data[i], k->n);
	}
}

/* ----------------------------------------------------------------- tests */

static void files_arrive_and_are_not_sent_twice(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t i = 0; i < 20; i++) {
		begin(&w, base_seed + i);
		start_push(&w);
		run(&w, 60 * SECOND);
		expect_all_there(&w);
		sherd_push_free(w.push);
		settle(&w);
		start_push(&w);
		run(&w, 60 * SECOND);
		expect_all_there(&w);
		assert_int_equal(w.sent, 0);
		end(&w);
	}
}

static void a_broken_transfer_goes_on_where_it_stopped(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t i = 0; i < 100; i++) {
		begin(&w, base_seed + i);
		w.sim.faults = (struct sim_faults){
			.drop = 20000, .damage = 20000, .reset = 50000, .twice = 5000, .swap = 5000,
			.latency_us = 300, .jitter_us = 300, .chop = false,
		};
		start_push(&w);
		run(&w, 600 * SECOND);
		expect_all_there(&w);
		for (int k = 0; k < w.n_files; k++)
			assert_int_equal(w.store.files[k].sent, w.files[k].offer.size);
		end(&w);
	}
}

static void a_full_disk_is_one_sentence_and_loses_nothing(void **state)
{
	struct world w;

	(void)state;
	begin(&w, base_seed);
	w.files[0].offer.size = 1; /* the big one comes last */
	sherd_sha256(w.data[0], 1, w.files[0].offer.sha256);
	w.n_files = 2;
	free(w.data[1]);
	w.data[1] = calloc(1, FILE_MAX);
	w.files[1] = (struct sherd_push_file){ .data = w.data[1],
					       .offer = { .name = "big", .size = FILE_MAX } };
	sherd_sha256(w.data[1], FILE_MAX, w.files[1].offer.sha256);
	w.store.room = FILE_MAX / 2;
	start_push(&w);
	run(&w, 60 * SECOND);
	assert_true(w.ended && !w.ok);
	assert_string_equal(w.err.msg, "node0: the disk is full");
	sherd_push_free(w.push);
	settle(&w);
	w.store.room = FILE_MAX;
	start_push(&w);
	run(&w, 60 * SECOND);
	expect_all_there(&w);
	assert_true(w.sent < FILE_MAX);
	end(&w);
}

static void another_file_under_that_hash_is_refused(void **state)
{
	struct world w;

	(void)state;
	begin(&w, base_seed);
	w.n_files = 1;
	w.files[0].offer.sha256[7] = w.files[0].offer.sha256[7] == '0' ? '1' : '0';
	start_push(&w);
	run(&w, 60 * SECOND);
	assert_string_equal(w.err.msg, "node0: shard-0.gguf has come as another file");
	assert_int_equal(w.store.files[0].n, 0);
	end(&w);
}

static void nobody_there_is_a_sentence_in_time(void **state)
{
	struct world w;

	(void)state;
	begin(&w, base_seed);
	w.sim.hosts[1].net.accepted = NULL;
	start_push(&w);
	run(&w, 40 * SECOND);
	assert_string_equal(w.err.msg, "node0: connection refused");
	end(&w);
}

/* ------------------------------------------------------------- hostile ones */

/* Who sends what it likes when it is told to, and waits for nothing. */
struct pusher {
	const struct sherd_offer *offer;
	struct sherd_link *link; /* NULL: down */
	bool replied;
};

static int expect_all(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		      struct sherd_error *err)
{
	(void)ctx, (void)l, (void)f, (void)err;
	return 0;
}

static void pusher_up(void *ctx, struct sherd_link *l)
{
	const struct sherd_hello h = { .role = SHERD_ROLE_PUSH };

	(void)ctx;
	sherd_hello_send(l, &h);
}

static void pusher_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
			 const uint8_t *payload)
{
	struct pusher *p = ctx;

	(void)payload;
	if (f->type == SHERD_FRAME_WELCOME)
		sherd_offer_send(l, 1, p->offer);
	p->replied |= f->type == SHERD_FRAME_REPLY;
}

static void pusher_down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	(void)l, (void)why;
	((struct pusher *)ctx)->link = NULL;
}

static void more_than_the_window_is_not_taken(void **state)
{
	static const struct sherd_link_user user = { pusher_up, expect_all, pusher_frame,
						     pusher_down };
	static const uint8_t piece[SHERD_PUSH_PIECE];
	struct pusher p = { 0 };
	struct sherd_frame f = { .type = SHERD_FRAME_FILE };
	struct sherd_error err;
	struct sherd_net *net;
	struct world w;

	(void)state;
	begin(&w, base_seed);
	w.files[0].offer.size = 2 * SHERD_PUSH_WINDOW * SHERD_PUSH_PIECE;
	p.offer = &w.files[0].offer;
	net = sim_start(&w.sim, 0);
	assert_int_equal(net->ops->dial(net, "host:1", "node0", &user, &p, &p.link, &err), 0);
	sim_go(&w.sim, SECOND);
	assert_true(p.replied);
	w.store.busy = true; /* with something else */
	for (uint32_t i = 0; i <= SHERD_PUSH_WINDOW; i++, f.session += sizeof(piece)) {
		assert_non_null(p.link);
		sherd_link_send(p.link, &f, piece, sizeof(piece));
		sim_go(&w.sim, SECOND);
	}
	assert_null(p.link);
	sim_at(&w.sim, w.sim.now, 1, work, &w.store);
	settle(&w);
	assert_int_equal(w.store.files[0].n, SHERD_PUSH_WINDOW * SHERD_PUSH_PIECE);
	end(&w);
}

/* A node that has every file there is, and goes on when there are no more. */
static void liar_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		       const uint8_t *payload)
{
	struct sherd_reply r = { .whole = true };

	(void)ctx, (void)payload;
	if (f->type == SHERD_FRAME_HELLO)
		sherd_welcome_send(l, "node0");
	while (f->type == SHERD_FRAME_COMMAND && r.id < 10 * FILES) {
		r.id++;
		sherd_reply_send(l, &r);
	}
}

static void liar_down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	(void)l, (void)why;
	*(bool *)ctx = true;
}

static void liar_accepted(void *ctx, struct sherd_link *l)
{
	static const struct sherd_link_user user = { .expect = expect_all, .frame = liar_frame,
						     .down = liar_down };

	l->user = &user;
	l->ctx = ctx;
}

static void who_has_more_files_than_there_are_is_heard_no_more(void **state)
{
	bool down = false;
	struct sherd_net *net;
	struct world w;

	(void)state;
	begin(&w, base_seed);
	w.address = "host:2";
	net = sim_start(&w.sim, 2);
	net->accepted = liar_accepted;
	net->accepted_ctx = &down;
	start_push(&w);
	settle(&w);
	assert_true(w.ended && w.ok);
	assert_int_equal(w.last_file, w.n_files - 1);
	/* Other nodes may be a long time yet: nobody waits for them on this link. */
	assert_true(down);
	end(&w);
}

static void names_that_lead_elsewhere_are_none(void **state)
{
	(void)state;
	assert_true(sherd_file_name_ok("0a-9_B.gguf"));
	assert_false(sherd_file_name_ok(""));
	assert_false(sherd_file_name_ok(".."));
	assert_false(sherd_file_name_ok(".hidden"));
	assert_false(sherd_file_name_ok("../x"));
	assert_false(sherd_file_name_ok("a/b"));
	assert_false(sherd_file_name_ok("a b"));
	assert_false(sherd_file_name_ok("a\nb"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_arrive_and_are_not_sent_twice),
		cmocka_unit_test(a_broken_transfer_goes_on_where_it_stopped),
		cmocka_unit_test(a_full_disk_is_one_sentence_and_loses_nothing),
		cmocka_unit_test(another_file_under_that_hash_is_refused),
		cmocka_unit_test(nobody_there_is_a_sentence_in_time),
		cmocka_unit_test(more_than_the_window_is_not_taken),
		cmocka_unit_test(who_has_more_files_than_there_are_is_heard_no_more),
		cmocka_unit_test(names_that_lead_elsewhere_are_none),
	};

	base_seed = sim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
