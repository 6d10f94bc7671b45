/* SPDX-License-Identifier: MIT */
/*
 * The contract in sentences: a token's result does not depend on its company, nor on the device
 * (Documentation/arithmetic.rst). Each test runs tiny random models of every kind of arithmetic, on
 * the reference and on whatever OpenCL device "auto" is, and compares bits. With SHERD_LONG unset a
 * test takes only some of the models, others in each run.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "infer/infer.h"
#include "infer/ref/ref.h"
#include "tiny_model.h"

#define N_PROMPT 300 /* crosses a chunk of 256 positions */
#define N_BATCH	 320
#define N_WIRED	 100
#define DEEP	 5 /* layers, where there must be room for several cuts */

static uint64_t rng;

/* A model on a device, and what the tests do with it. */
struct rig {
	const struct tiny_model *t;
	struct sherd_model *model;
	const struct sherd_model_info *info;
	int32_t prompt[N_PROMPT];
	struct sherd_session_params params;
};

static void die(const struct rig *r, const char *what, const struct sherd_error *err)
{
	fail_msg("%s: %s: %s", tiny_model_describe(r->t), what, err->msg);
}

/* False where the machine has no such device. */
static bool open_model(struct sherd_model **m, const struct tiny_model *t, const char *device,
		       const struct sherd_model_params *base)
{
	struct sherd_model_params p = *base;
	struct sherd_error err = { "" };
	char *path = tiny_model_write(t);
	int rc;

	p.device = device;
	p.no_cache = true;
	p.n_ctx = N_PROMPT + 100;
	p.n_batch = N_BATCH;
	p.n_sessions = 4;
	rc = sherd_model_open(m, path, &p, &err);
	unlink(path);
	free(path);
	if (rc == -ENODEV || rc == -ENOSYS) {
		print_message("skipped: %s\n", err.msg);
		return false;
	}
	if (rc)
		fail_msg("%s: %s", tiny_model_describe(t), err.msg);
	return true;
}

static bool rig_open(struct rig *r, const struct tiny_model *t, const char *device,
		     const struct sherd_model_params *base)
{
	int i;

	memset(r, 0, sizeof(*r));
	r->t = t;
	r->params.sampler.repeat_penalty = 1.0f;
	if (!open_model(&r->model, t, device, base))
		return false;
	r->info = sherd_model_info(r->model);
	for (i = 0; i < N_PROMPT; i++)
		r->prompt[i] = tiny_below(&rng, t->n_vocab);
	return true;
}

static void rig_close(struct rig *r)
{
	sherd_model_close(r->model);
}

static struct sherd_session *new_session(struct rig *r)
{
	struct sherd_session *s;
	struct sherd_error err;

	if (sherd_session_new(&s, r->model, &r->params, &err))
		die(r, "new session", &err);
	return s;
}

/* One item through layers [first, end); all its rows are copied to @out. */
static void step_one(struct rig *r, struct sherd_session *s, const int32_t *tokens,
		     const float *hidden, int n, int first, int end, float *out)
{
	struct sherd_item item = {
		.session = s, .tokens = tokens, .hidden = hidden, .n = n, .want = SHERD_WANT_ALL
	};
	struct sherd_error err;
	struct sherd_rows rows;

	if (sherd_step(r->model, &item, 1, first, end, &rows, &err))
		die(r, "step", &err);
	assert_int_equal(rows.n_rows, n);
	memcpy(out, rows.data, (size_t)n * (size_t)rows.row_len * sizeof(float));
}

static float *new_rows(int n, int len)
{
	float *p = sherd_calloc((size_t)n * (size_t)len, sizeof(float));

	assert_non_null(p);
	memset(p, 0xAB, (size_t)n * (size_t)len * sizeof(float)); /* poison */
	return p;
}

/* The whole prompt at once, every row's logits: what everything else is compared with. */
static float *whole(struct rig *r)
{
	float *out = new_rows(N_PROMPT, r->info->n_vocab);
	struct sherd_session *s = new_session(r);

	step_one(r, s, r->prompt, NULL, N_PROMPT, 0, 0, out);
	sherd_session_free(s);
	return out;
}

static void assert_same(const struct rig *r, const char *what, const float *a, const float *b,
			int first_row, int n_rows, int len)
{
	size_t i, at = (size_t)first_row * (size_t)len;

	for (i = 0; i < (size_t)n_rows * (size_t)len; i++)
		if (memcmp(&a[i], &b[at + i], sizeof(float)))
			fail_msg("%s on %s: %s: row %d, column %d: %a, not %a",
				 tiny_model_describe(r->t), r->info->device, what,
				 first_row + (int)i / len, (int)i % len, (double)a[i],
				 (double)b[at + i]);
}

static void assert_alive(const struct rig *r, const float *x, int n)
{
	int i, differ = 0;

	for (i = 0; i < n; i++) {
		assert_true(isfinite(x[i]));
		differ += x[i] != x[0];
	}
	if (differ < n / 2)
		fail_msg("%s: most logits are equal: this test would see nothing",
			 tiny_model_describe(r->t));
}

static int count(const struct tiny_model *t)
{
	int n = 0;

	while (t[n].arch)
		n++;
	return n;
}

/* Calls @f for the models of this run: all of them, or one of either list. */
static void for_models(void (*f)(const struct tiny_model *, void *), void *arg)
{
	const struct tiny_model *const lists[] = { tiny_models, tiny_families };
	bool all = getenv("SHERD_LONG") != NULL;
	int n, first, take, i, k, one = tiny_below(&rng, 2);

	for (k = 0; k < 2; k++) {
		n = count(lists[k]);
		first = tiny_below(&rng, n);
		take = all ? n : k == one;
		for (i = 0; i < take; i++)
			f(&lists[k][(first + i) % n], arg);
	}
}

struct check {
	const char *device;
	void (*run)(struct rig *);
};

/* One kind of KV cache and one width each time; requantized rows are no multiple of 32. */
static void check_model(const struct tiny_model *t, void *arg)
{
	const struct check *check = arg;
	struct sherd_model_params p = { .kv_type = (enum sherd_kv_type)tiny_below(&rng, 3) };
	struct rig r;

	if (t->type == GGML_F32 || t->type == GGML_F16)
		p.bits = 4 * tiny_below(&rng, 3);
	if (!rig_open(&r, t, check->device, &p)) {
		skip();
		return;
	}
	check->run(&r);
	rig_close(&r);
}

static void on_models(const char *device, void (*run)(struct rig *))
{
	struct check check = { device, run };

	for_models(check_model, &check);
}

/* A random length from 1 to @most, but not more than is left. */
static int piece(int most, int left)
{
	int n = 1 + tiny_below(&rng, most);

	return MIN(n, left);
}

static void check_chunking(struct rig *r)
{
	int len = r->info->n_vocab, round, pos, n;
	float *want = whole(r), *got = new_rows(N_PROMPT, len);

	assert_alive(r, want, len);
	for (round = 0; round < 2; round++) {
		struct sherd_session *s = new_session(r);

		for (pos = 0; pos < N_PROMPT; pos += n) {
			int most = round ? 200 : 15;

			n = piece(most, N_PROMPT - pos);
			step_one(r, s, r->prompt + pos, NULL, n, 0, 0, got);
			assert_same(r, "a chunk of the prompt", got, want, pos, n, len);
		}
		sherd_session_free(s);
	}
	free(want);
	free(got);
}

static void any_chunking_of_a_prompt_gives_the_same_bits(void **state)
{
	on_models(*state, check_chunking);
}

static void check_company(struct rig *r)
{
	enum { N = 3 };
	int len = r->info->n_vocab, pos[N] = { 0 }, i, k, row, n_items;
	float *want = whole(r);
	struct sherd_session *s[N];
	struct sherd_error err;
	struct sherd_rows rows;

	for (i = 0; i < N; i++)
		s[i] = new_session(r);
	while (pos[0] < N_PROMPT) {
		struct sherd_item items[N];
		int which[N], left = N_BATCH;

		for (i = 0, n_items = 0; i < N; i++) {
			int n = 1 + tiny_below(&rng, tiny_below(&rng, 3) ? 90 : 3);

			n = MIN(MIN(n, N_PROMPT - pos[i]), left);
			if (n < 1 || tiny_below(&rng, 4) == 0)
				continue;
			left -= n;
			which[n_items] = i;
			items[n_items++] =
				(struct sherd_item){ .session = s[i],
						     .tokens = r->prompt + pos[i],
						     .n = n,
						     .want = (enum sherd_want)tiny_below(&rng, 3) };
		}
		if (!n_items)
			continue;
		if (sherd_step(r->model, items, n_items, 0, 0, &rows, &err))
			die(r, "step", &err);
		for (k = 0, row = 0; k < n_items; k++) {
			int n = items[k].want == SHERD_WANT_NONE ? 0 :
				items[k].want == SHERD_WANT_LAST ? 1 : items[k].n;

			pos[which[k]] += items[k].n;
			assert_same(r, "a row among others", rows.data + (size_t)row * len, want,
				    pos[which[k]] - n, n, len);
			row += n;
		}
		assert_int_equal(rows.n_rows, row);
	}
	for (i = 0; i < N; i++)
		sherd_session_free(s[i]);
	free(want);
}

static void a_result_does_not_depend_on_the_other_sessions_in_the_batch(void **state)
{
	on_models(*state, check_company);
}

static void check_ranges(struct rig *r)
{
	int len = r->info->n_vocab, hidden = r->info->hidden, n_layers = r->info->n_layers;
	float *want = whole(r), *got = new_rows(N_PROMPT, len), *h = new_rows(N_PROMPT, hidden);
	struct sherd_session *s = new_session(r);
	int pos, n;

	for (pos = 0; pos < N_PROMPT; pos += n) {
		int layer = 0, end;

		n = piece(150, N_PROMPT - pos);
		while (layer < n_layers) {
			end = layer + 1 + tiny_below(&rng, n_layers - layer);
			step_one(r, s, r->prompt + pos, h, n, layer, end,
				 end == n_layers ? got : h);
			layer = end;
		}
		assert_int_equal(sherd_session_pos(s), pos + n);
		assert_same(r, "a chain of layer ranges", got, want, pos, n, len);
	}
	sherd_session_free(s);
	free(want);
	free(got);
	free(h);
}

static void any_split_of_the_layers_into_ranges_gives_the_same_bits(void **state)
{
	on_models(*state, check_ranges);
}

static void check_replay(struct rig *r)
{
	int len = r->info->n_vocab, round;
	float *want = whole(r), *got = new_rows(N_PROMPT, len);
	struct sherd_session *s = new_session(r);
	struct sherd_error err;

	step_one(r, s, r->prompt, NULL, N_PROMPT, 0, 0, got);
	for (round = 0; round < 3; round++) {
		int pos = tiny_below(&rng, N_PROMPT);
		int32_t other[20];
		int i;

		for (i = 0; i < 20; i++)
			other[i] = tiny_below(&rng, len);
		if (sherd_session_truncate(s, pos, &err))
			die(r, "truncate", &err);
		step_one(r, s, other, NULL, MIN(20, N_PROMPT - pos), 0, 0, got);
		if (sherd_session_truncate(s, pos, &err))
			die(r, "truncate", &err);
		step_one(r, s, r->prompt + pos, NULL, N_PROMPT - pos, 0, 0, got);
		assert_same(r, "replay after truncation", got, want, pos, N_PROMPT - pos, len);
	}
	sherd_session_free(s);
	free(want);
	free(got);
}

static void what_was_truncated_leaves_no_trace(void **state)
{
	on_models(*state, check_replay);
}

/* Two models, each with a part of the layers, against one with all: as two boards would. */
static void check_stages(const struct tiny_model *t, void *device)
{
	int n_layers = t->n_layers, cut = 1 + tiny_below(&rng, n_layers - 1), i;
	float *want, *got = new_rows(N_PROMPT, t->n_vocab), *h = new_rows(N_PROMPT, t->hidden);
	struct sherd_model_params p = { .kv_type = SHERD_KV_F16 };
	struct rig r, stage;

	if (!rig_open(&r, t, device, &p)) {
		free(got);
		free(h);
		skip();
		return;
	}
	want = whole(&r);
	for (i = 0; i < 2; i++) {
		struct sherd_session *s;

		p.first_layer = i ? cut : 0;
		p.end_layer = i ? n_layers : cut;
		assert_true(rig_open(&stage, t, device, &p));
		s = new_session(&stage);
		step_one(&stage, s, r.prompt, h, N_PROMPT, 0, 0, i ? got : h);
		sherd_session_free(s);
		rig_close(&stage);
	}
	assert_same(&r, "a chain of two models", got, want, 0, N_PROMPT, t->n_vocab);
	rig_close(&r);
	free(want);
	free(got);
	free(h);
}

static void a_chain_of_stages_gives_the_bits_of_the_whole_model(void **state)
{
	for_models(check_stages, *state);
}

/* A session with a cut, against the wire's arithmetic done by hand between two ranges. */
static void check_cuts(struct rig *r)
{
	int len = r->info->n_vocab, hidden = r->info->hidden, n_layers = r->info->n_layers;
	float *want = new_rows(N_PROMPT, len), *got = new_rows(N_PROMPT, len);
	float *uncut = whole(r), *h = new_rows(N_PROMPT, hidden);
	enum sherd_wire wire;
	int i, cut = 1 + tiny_below(&rng, n_layers - 1);

	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++) {
		struct sherd_session *plain = new_session(r), *s;

		step_one(r, plain, r->prompt, NULL, N_PROMPT, 0, cut, h);
		for (i = 0; i < N_PROMPT; i++)
			assert_int_equal(sherd_ref_cut(wire, h + (size_t)i * hidden, hidden), 0);
		step_one(r, plain, NULL, h, N_PROMPT, cut, n_layers, want);
		r->params.cuts = &cut;
		r->params.n_cuts = 1;
		r->params.wire = wire;
		s = new_session(r);
		step_one(r, s, r->prompt, NULL, N_PROMPT, 0, 0, got);
		assert_same(r, "a session with a cut", got, want, 0, N_PROMPT, len);
		if (wire == SHERD_WIRE_F32)
			assert_same(r, "a cut that keeps floats", got, uncut, 0, N_PROMPT, len);
		else
			assert_memory_not_equal(got, uncut, (size_t)len * sizeof(float));
		r->params.n_cuts = 0;
		sherd_session_free(plain);
		sherd_session_free(s);
	}
	free(want);
	free(got);
	free(uncut);
	free(h);
}

static void a_cut_within_one_process_is_the_wires_arithmetic(void **state)
{
	on_models(*state, check_cuts);
}

/* A session that goes through the layers in ranges, and what it has to give. */
struct lane {
	struct sherd_session *s;
	bool cut[DEEP + 1];
	enum sherd_wire wire;
	float *want, *h; /* [N_WIRED][vocabulary]; [N_WIRED][hidden]: of the present chunk */
	uint8_t *bytes;
	int pos, n; /* positions done; rows of the present chunk */
	bool wired;
};

static void lane_open(struct rig *r, struct lane *l)
{
	int cuts[DEEP], n = 0, i;

	memset(l, 0, sizeof(*l));
	for (i = 1; i < DEEP; i++)
		if (tiny_below(&rng, 3))
			cuts[n++] = i;
	if (!n)
		cuts[n++] = 1 + tiny_below(&rng, DEEP - 1);
	for (i = 0; i < n; i++)
		l->cut[cuts[i]] = true;
	l->wire = (enum sherd_wire)tiny_below(&rng, 3);
	r->params.cuts = cuts;
	r->params.n_cuts = n;
	r->params.wire = l->wire;
	l->s = new_session(r);
	r->params.n_cuts = 0;
	l->want = new_rows(N_WIRED, r->info->n_vocab);
	step_one(r, l->s, r->prompt, NULL, N_WIRED, 0, 0, l->want);
	assert_int_equal(sherd_session_truncate(l->s, 0, NULL), 0);
	l->h = new_rows(N_WIRED, r->info->hidden);
	l->bytes = malloc(sherd_wire_bytes(l->wire, N_WIRED, r->info->hidden));
}

static void lane_close(struct lane *l)
{
	sherd_session_free(l->s);
	free(l->want);
	free(l->h);
	free(l->bytes);
}

/* Before layer @layer: over the wire where there is a cut, most times; else as floats. */
static void hand_over(struct rig *r, struct lane *l, int layer)
{
	int hidden = r->info->hidden;
	struct sherd_error err;

	l->wired = l->cut[layer] && tiny_below(&rng, 4);
	if (!l->wired)
		return;
	if (sherd_wire_encode(l->wire, l->h, l->n, hidden, l->bytes, &err) ||
	    sherd_wire_decode(l->wire, l->bytes, l->n, hidden, l->h, &err))
		die(r, "wire", &err);
}

/* The chunks of both lanes through one range, in one batch. */
static void range_step(struct rig *r, struct lane *lanes, int first, int end)
{
	struct sherd_item items[2];
	struct sherd_rows rows;
	struct sherd_error err;
	int i, n_items = 0, row = 0;

	for (i = 0; i < 2; i++) {
		struct lane *l = &lanes[i];

		if (first)
			hand_over(r, l, first);
		if (l->n)
			items[n_items++] = (struct sherd_item){
				.session = l->s,
				.tokens = first ? NULL : r->prompt + l->pos,
				.hidden = l->h,
				.n = l->n,
				.want = SHERD_WANT_ALL,
				.wired = l->wired };
	}
	if (sherd_step(r->model, items, n_items, first, end, &rows, &err))
		die(r, "step", &err);
	for (i = 0; i < 2; i++) {
		struct lane *l = &lanes[i];
		const float *data = rows.data + (size_t)row * (size_t)rows.row_len;

		if (end == DEEP)
			assert_same(r, "rows off the wire", data, l->want, l->pos, l->n,
				    rows.row_len);
		else
			memcpy(l->h, data, (size_t)l->n * (size_t)rows.row_len * sizeof(float));
		row += l->n;
	}
}

/* A prompt in chunks, then single tokens; now and then a lane goes back and is replayed. */
static void run_lanes(struct rig *r, struct lane *lanes)
{
	int replays = 3, layer, end, i;

	while (lanes[0].pos < N_WIRED || lanes[1].pos < N_WIRED) {
		for (i = 0; i < 2; i++) {
			struct lane *l = &lanes[i];
			int left = N_WIRED - l->pos;

			l->n = left > 15 ? piece(60, left) : left ? tiny_below(&rng, 2) : 0;
		}
		if (!lanes[0].n && !lanes[1].n)
			continue;
		for (layer = 0; layer < DEEP; layer = end) {
			end = layer + 1 + tiny_below(&rng, DEEP - layer);
			range_step(r, lanes, layer, end);
		}
		for (i = 0; i < 2; i++)
			lanes[i].pos += lanes[i].n;
		if (replays && tiny_below(&rng, 3) == 0) {
			struct lane *l = &lanes[tiny_below(&rng, 2)];

			l->pos = tiny_below(&rng, l->pos + 1);
			assert_int_equal(sherd_session_truncate(l->s, l->pos, NULL), 0);
			replays--;
		}
	}
}

static void check_wired(const struct tiny_model *t, void *device)
{
	struct sherd_model_params p = { .kv_type = (enum sherd_kv_type)tiny_below(&rng, 3) };
	struct tiny_model deep = *t;
	struct lane lanes[2];
	struct rig r;

	deep.n_layers = DEEP;
	if (!rig_open(&r, &deep, device, &p)) {
		skip();
		return;
	}
	lane_open(&r, &lanes[0]);
	lane_open(&r, &lanes[1]);
	run_lanes(&r, lanes);
	lane_close(&lanes[0]);
	lane_close(&lanes[1]);
	rig_close(&r);
}

static void rows_off_the_wire_give_the_bits_of_one_process_with_the_same_cuts(void **state)
{
	for_models(check_wired, *state);
}

/* ----------------------------------------------------- rows that travel --- */

#define SLOT (128u << 10)
#define EDGE 70 /* bytes behind the rows, which stay as they are */

enum { N_TRAVEL = 40, N_SLOTS = 3 };

/* A session whose rows go where @out says, as they are encoded from the rows of a step before. */
struct traveller {
	struct sherd_session *s;
	enum sherd_wire wire;
	int n;
	enum sherd_want want;
	uint8_t *to, *expected; /* [size + EDGE] */
	size_t size;
};

static struct sherd_item travel_item(struct rig *r, const struct traveller *t, const float *h)
{
	return (struct sherd_item){ .session = t->s, .tokens = r->prompt, .hidden = h, .n = t->n,
				    .want = t->want };
}

/* In a slot of its own, where a frame's rows might begin; or anywhere. */
static uint8_t *travel_to(struct sherd_region *ring, int i)
{
	static uint8_t anywhere[2][SLOT];

	if (ring)
		return (uint8_t *)sherd_ring_slot(ring, i)->data + 64 * tiny_below(&rng, 4) +
		       (tiny_below(&rng, 4) ? 0 : 2); /* where floats can't be written */
	return anywhere[i] + tiny_below(&rng, 5);
}

static void travel(struct rig *r, struct sherd_region *ring, int first, int end)
{
	int hidden = r->info->hidden, row = 0, i;
	float *h = new_rows(2 * N_TRAVEL, hidden);
	struct traveller t[2];
	struct sherd_item items[2];
	struct sherd_rows rows;
	struct sherd_error err;

	for (i = 0; i < 2 * N_TRAVEL * hidden; i++)
		h[i] = tiny_normal(&rng);
	for (i = 0; i < 2; i++) {
		t[i] = (struct traveller){ .wire = (enum sherd_wire)tiny_below(&rng, 3),
					   .n = 1 + tiny_below(&rng, N_TRAVEL),
					   .want = (enum sherd_want)tiny_below(&rng, 3) };
		r->params.wire = t[i].wire;
		t[i].s = new_session(r);
		items[i] = travel_item(r, &t[i], first ? h + i * N_TRAVEL * hidden : NULL);
	}
	if (sherd_step(r->model, items, 2, first, end, &rows, &err))
		die(r, "step", &err);
	for (i = 0; i < 2; i++) {
		int n = t[i].want == SHERD_WANT_ALL ? t[i].n : t[i].want == SHERD_WANT_LAST;
		uint8_t *to = travel_to(ring, i);

		t[i].size = sherd_wire_bytes(t[i].wire, n, hidden);
		t[i].to = to;
		t[i].expected = malloc(t[i].size + EDGE);
		assert_true(t[i].size + EDGE + 4 * 64 <= SLOT);
		memset(t[i].expected, 0xa5, t[i].size + EDGE);
		memset(to, 0xa5, t[i].size + EDGE);
		if (sherd_wire_encode(t[i].wire, rows.data + row * hidden, n, hidden, t[i].expected,
				      &err))
			die(r, "wire", &err);
		row += n;
		items[i].out = to;
		assert_int_equal(sherd_session_truncate(t[i].s, 0, NULL), 0);
	}
	if (sherd_step(r->model, items, 2, first, end, &rows, &err))
		die(r, "step", &err);
	assert_null(rows.data);
	for (i = 0; i < 2; i++) {
		assert_memory_equal(t[i].to, t[i].expected, t[i].size + EDGE);
		sherd_session_free(t[i].s);
		free(t[i].expected);
	}
	free(h);
}

static void check_travel(struct rig *r)
{
	int n_layers = r->info->n_layers, first, i;
	struct sherd_region *ring;
	struct sherd_error err;
	bool shared;

	for (i = 0; i < 3; i++) {
		first = tiny_below(&rng, n_layers - 1);
		travel(r, NULL, first, first + 1 + tiny_below(&rng, n_layers - 1 - first));
	}
	if (sherd_ring_create(&ring, N_SLOTS, SLOT, NULL, &err))
		die(r, "ring", &err);
	shared = r->model->exec->ops->use_ring && !sherd_model_use_ring(r->model, ring, &err);
	for (i = 0; i < N_SLOTS; i++)
		assert_int_equal(sherd_window_begin(sherd_ring_slot(ring, i), 3, &err), 0);
	for (i = 0; i < 5; i++) {
		first = tiny_below(&rng, n_layers - 1);
		travel(r, ring, first, first + 1 + tiny_below(&rng, n_layers - 1 - first));
	}
	print_message("rows went to a ring's slots %s\n", shared ? "by the device" : "by copying");
	sherd_model_close(r->model);
	r->model = NULL;
	sherd_region_close(ring);
}

/*
 * Of the mapping that has most in memory. Not the process's: what others give back meanwhile would
 * count, and statm's numbers lag by what each thread has not added to them yet.
 */
static long resident_kib(void)
{
	long kib, most = 0;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Rss: %ld kB", &kib) == 1)
			most = MAX(most, kib);
	fclose(f);
	return most;
}

static void a_cache_that_is_held_is_memory_at_once(void **state)
{
	struct sherd_model_params p = { .hold_kv = true, .n_ctx = 60000, .n_sessions = 40,
					.device = *state, .no_cache = true };
	char *path = tiny_model_write(&tiny_models[0]);
	long before = resident_kib(), held, kv;
	struct sherd_model *m;
	struct sherd_error err;
	int rc = sherd_model_open(&m, path, &p, &err);

	unlink(path);
	free(path);
	if (rc == -ENODEV || rc == -ENOSYS)
		skip();
	if (rc)
		fail_msg("%s", err.msg);
	held = resident_kib();
	kv = (long)(sherd_model_info(m)->kv_bytes / 1024);
	assert_true(before < kv / 2); /* or it might be that one */
	if (held < kv)
		fail_msg("%ld KiB are in memory of a KV cache of %ld", held, kv);
	sherd_model_close(m);
}

static void rows_that_travel_are_what_the_encoder_makes_of_them(void **state)
{
	on_models(*state, check_travel);
}

/*
 * Rows so small that the wire's scales are denormal halves: there a second cut takes other scales.
 */
static void check_cut_once(struct rig *r)
{
	enum { N = 5 };
	int hidden = r->info->hidden, len = r->info->n_vocab, cut = 1, how, i;
	float *h = new_rows(N, hidden), *want = new_rows(N, len), *got = new_rows(N, len);
	struct sherd_error err;
	struct sherd_rows rows;

	for (i = 0; i < N * hidden; i++)
		h[i] = 1.5001f * 0x1p-24f * 127.0f * (float)(1 + tiny_below(&rng, 32)) / 32.0f;
	for (i = 0; i < N; i++)
		assert_int_equal(sherd_ref_cut(SHERD_WIRE_INT8, h + i * hidden, hidden), 0);
	for (how = 0; how < 3; how++) { /* uncut; cut by the sender; cut once more */
		struct sherd_item item = { .hidden = h, .n = N, .want = SHERD_WANT_ALL };

		r->params.cuts = &cut;
		r->params.n_cuts = how > 0;
		r->params.wire = SHERD_WIRE_INT8;
		item.session = new_session(r);
		item.wired = how == 1;
		if (sherd_step(r->model, &item, 1, cut, r->info->n_layers, &rows, &err))
			die(r, "step", &err);
		memcpy(how ? got : want, rows.data, (size_t)N * (size_t)len * sizeof(float));
		if (how == 1)
			assert_same(r, "rows that were cut before", got, want, 0, N, len);
		if (how == 2)
			assert_memory_not_equal(got, want, (size_t)N * (size_t)len * sizeof(float));
		sherd_session_free(item.session);
	}
	free(h);
	free(want);
	free(got);
}

static void a_row_that_came_cut_is_not_cut_again(void **state)
{
	on_models(*state, check_cut_once);
}

static void check_against_reference(struct rig *r, const struct sherd_model_params *p)
{
	struct rig ref;
	float *got = whole(r), *want;

	assert_true(rig_open(&ref, r->t, "reference", p));
	memcpy(ref.prompt, r->prompt, sizeof(ref.prompt));
	want = whole(&ref);
	assert_same(r, "against the reference", got, want, 0, N_PROMPT, r->info->n_vocab);
	assert_string_equal(r->info->bit_profile, ref.info->bit_profile);
	rig_close(&ref);
	free(got);
	free(want);
}

/* All models, always: this is the sentence that the others lean on. */
static void opencl_gives_the_bits_of_the_reference(void **state)
{
	const struct tiny_model *t;
	struct rig r;

	(void)state;
	for (t = tiny_models; t->arch; t++) {
		struct sherd_model_params p = { .kv_type =
							(enum sherd_kv_type)tiny_below(&rng, 3) };

		if (t->type == GGML_F32 || t->type == GGML_F16)
			p.bits = 4 * tiny_below(&rng, 3);
		if (!rig_open(&r, t, "auto", &p)) {
			skip();
			return;
		}
		check_against_reference(&r, &p);
		rig_close(&r);
	}
}

#define N_AT_ONCE 240 /* then token by token, into the second chunk */

/* The reference's logits of the whole prompt, with the cuts of @r. */
static float *reference_rows(const struct rig *r, const struct sherd_model_params *p)
{
	struct rig ref;
	float *rows;

	assert_true(rig_open(&ref, r->t, "reference", p));
	memcpy(ref.prompt, r->prompt, sizeof(ref.prompt));
	ref.params = r->params;
	rows = whole(&ref);
	rig_close(&ref);
	return rows;
}

/* One token through layers that are cut into ranges anywhere. */
static void step_in_ranges(struct rig *r, struct sherd_session *s, int pos, float *h,
			   float *out)
{
	int n_layers = r->info->n_layers, layer, end;

	for (layer = 0; layer < n_layers; layer = end) {
		end = layer + 1 + tiny_below(&rng, n_layers - layer);
		step_one(r, s, r->prompt + pos, h, 1, layer, end, end == n_layers ? out : h);
	}
}

/* Two sessions take turns: one goes through ranges of layers, the other has a cut. */
static void check_single_tokens(struct rig *r, const struct sherd_model_params *p)
{
	int len = r->info->n_vocab, cut = 1 + tiny_below(&rng, r->info->n_layers - 1), pos, i;
	float *got = new_rows(N_AT_ONCE, len), *h = new_rows(1, r->info->hidden), *want[2];
	struct sherd_session *s[2];

	for (i = 0; i < 2; i++) {
		r->params.cuts = &cut;
		r->params.n_cuts = i;
		r->params.wire = (enum sherd_wire)tiny_below(&rng, 2);
		want[i] = reference_rows(r, p);
		s[i] = new_session(r);
		step_one(r, s[i], r->prompt, NULL, N_AT_ONCE, 0, 0, got);
		assert_same(r, "before the single tokens", got, want[i], 0, N_AT_ONCE, len);
	}
	for (pos = N_AT_ONCE; pos < N_PROMPT; pos++) {
		step_in_ranges(r, s[0], pos, h, got);
		assert_same(r, "a token in ranges of layers", got, want[0], pos, 1, len);
		step_one(r, s[1], r->prompt + pos, NULL, 1, 0, 0, got);
		assert_same(r, "a token of a session with a cut", got, want[1], pos, 1, len);
	}
	for (i = 0; i < 2; i++) {
		sherd_session_free(s[i]);
		free(want[i]);
	}
	free(got);
	free(h);
}

/* Models whose layers OpenCL does in one launch on CPUs; one of them, or all. */
static void single_tokens_of_sessions_that_take_turns_have_the_reference_s_bits(void **state)
{
	static const int which[] = { 0, 3, 4, 5 };
	int n = getenv("SHERD_LONG") ? (int)ARRAY_SIZE(which) : 1;
	int first = tiny_below(&rng, ARRAY_SIZE(which)), i;

	(void)state;
	for (i = 0; i < n; i++) {
		struct sherd_model_params p = { .kv_type =
							(enum sherd_kv_type)tiny_below(&rng, 3) };
		struct rig r;

		if (!rig_open(&r, &tiny_models[which[(first + i) % ARRAY_SIZE(which)]], "auto",
			      &p)) {
			skip();
			return;
		}
		assert_int_equal(r.info->head_dim % 32, 0);
		check_single_tokens(&r, &p);
		rig_close(&r);
	}
}

/*
 * Families on the device, all of them or a fifth, and one of these or all of them token by token, in
 * ranges of layers and with cuts.
 */
static void check_families(const char *device)
{
	bool all = getenv("SHERD_LONG") != NULL;
	int n = count(tiny_families), alone = all ? n : 1, i;
	int first = tiny_below(&rng, n);
	struct sherd_model_params p = { .kv_type = (enum sherd_kv_type)tiny_below(&rng, 3) };
	struct rig r;

	for (i = 0; i < (all ? n : DIV_ROUND_UP(n, 5)); i++) {
		if (!rig_open(&r, &tiny_families[(first + i) % n], device, &p)) {
			skip();
			return;
		}
		check_against_reference(&r, &p);
		if (i < alone)
			check_single_tokens(&r, &p);
		rig_close(&r);
	}
}

static void families_have_the_reference_s_bits_on_opencl(void **state)
{
	(void)state;
	check_families("auto");
}

static void families_have_the_reference_s_bits_in_the_simt_shape(void **state)
{
	(void)state;
	if (!getenv("SHERD_LONG")) {
		print_message("skipped: compiling it takes long; SHERD_LONG is not set\n");
		skip();
	}
	check_families("cpu/simt");
}

/* A norm that multiplies by @huge: what is refused, by words of the sentence; NULL: nothing. */
static const struct overflow {
	const char *vector;
	float huge;
	enum sherd_kv_type kv;
	const char *says;
} overflows[] = {
	{ "blk.1.attn_norm.weight", 3e38f, SHERD_KV_F16,
	  "layer 1, position 0: the residual stream" },
	{ "blk.1.attn_norm.weight", 1e6f, SHERD_KV_F16,
	  "layer 1, position 0: a query, key or value" },
	{ "blk.1.attn_norm.weight", 1e6f, SHERD_KV_F32, NULL },
	{ "blk.1.attn_norm.weight", 1e6f, SHERD_KV_INT8, NULL },
	{ "blk.1.attn_norm.weight", 1e20f, SHERD_KV_F32,
	  "layer 1, position 0: a query, key or value" },
	{ "blk.1.attn_norm.weight", 1e20f, SHERD_KV_INT8,
	  "layer 1, position 0: a query, key or value" },
	{ "blk.0.ffn_norm.weight", 1e22f, SHERD_KV_F16, "layer 0, position 0: the feed-forward" },
	{ "output_norm.weight", 3e38f, SHERD_KV_F16, "after the last layer, position 0" },
};

static void what_overflows_is_refused_and_named(void **state)
{
	struct tiny_model t = tiny_models[0];
	struct sherd_error err;
	const float *logits;
	struct rig r;
	size_t i;
	int rc;

	for (i = 0; i < ARRAY_SIZE(overflows); i++) {
		const struct overflow *o = &overflows[i];
		struct sherd_model_params p = { .kv_type = o->kv };
		struct sherd_session *s;

		t.huge = o->vector;
		t.huge_mean = o->huge;
		if (!rig_open(&r, &t, *state, &p))
			skip();
		s = new_session(&r);
		rc = sherd_prefill(s, r.prompt, 1, &logits, &err);
		if (rc != (o->says ? -EDOM : 0) || (rc && !strstr(err.msg, o->says)))
			fail_msg("%s at %g, KV type %d: %d, %s", o->vector, o->huge, o->kv, rc,
				 rc ? err.msg : "not refused");
		sherd_session_free(s);
		rig_close(&r);
	}
}

/* Draws with a seed: the tokens, not only the logits, come again. */
static void check_sampling(struct rig *r)
{
	int32_t first[40], token;
	const float *logits;
	struct sherd_error err;
	int round, i;

	r->params.sampler = (struct sherd_sampler_params)SHERD_SAMPLER_PARAMS_INIT;
	r->params.sampler.seed = 1234567890123456789ull;
	r->params.sampler.repeat_penalty = 1.1f;
	for (round = 0; round < 2; round++) {
		struct sherd_session *s = new_session(r), *other = new_session(r);

		if (round && sherd_prefill(other, r->prompt, 100, &logits, &err))
			die(r, "prefill", &err);
		/* the second time in two pieces */
		if ((round && sherd_prefill(s, r->prompt, 17, &logits, &err)) ||
		    sherd_prefill(s, r->prompt + 17 * round, 30 - 17 * round, &logits, &err))
			die(r, "prefill", &err);
		for (i = 0; i < 40; i++) {
			token = sherd_session_sample(s, logits);
			if (round)
				assert_int_equal(token, first[i]);
			first[i] = token;
			if (sherd_prefill(s, &token, 1, &logits, &err))
				die(r, "prefill", &err);
		}
		sherd_session_free(s);
		sherd_session_free(other);
	}
}

static void a_replayed_session_draws_the_same_tokens(void **state)
{
	on_models(*state, check_sampling);
}

/* llama2.c's own golden text: 200 greedy tokens after BOS. */
static void the_golden_story_comes_out_byte_for_byte(void **state)
{
	const char *shared = getenv("SHERD_SHARED") ? getenv("SHERD_SHARED") : "../shared";
	char *path = sherd_asprintf("%s/data/models/stories260K-f32.gguf", shared);
	char *expected = sherd_asprintf("%s/data/models/stories260K.expected.txt", shared), *want;
	struct sherd_model_params p = { .device = *state, .n_ctx = 201, .no_cache = true };
	const struct sherd_tokenizer *tok;
	struct sherd_session *s;
	struct sherd_model *m;
	struct sherd_error err;
	const float *logits;
	int32_t ids[201];
	size_t len, want_len;
	char *text;
	int i, rc;

	rc = access(path, R_OK) ? sherd_fail(&err, -ENODEV, "no %s", path) :
				  sherd_model_open(&m, path, &p, &err);
	free(path);
	if (rc == -ENODEV || rc == -ENOSYS) {
		print_message("skipped: %s\n", err.msg);
		free(expected);
		skip();
	}
	if (rc || sherd_session_new(&s, m, NULL, &err) ||
	    sherd_read_file(expected, 4096, &want, &want_len, &err))
		fail_msg("%s", err.msg);
	tok = sherd_model_tokenizer(m);
	ids[0] = sherd_tokenizer_bos(tok);
	for (i = 0; i < 200; i++) {
		if (sherd_prefill(s, &ids[i], 1, &logits, &err))
			fail_msg("%s", err.msg);
		ids[i + 1] = sherd_session_sample(s, logits);
	}
	assert_int_equal(sherd_detokenize(tok, ids, 201, false, &text, &len, &err), 0);
	assert_string_equal(text, want);
	free(text);
	free(want);
	free(expected);
	sherd_session_free(s);
	sherd_model_close(m);
}

#define ON(device, f) { #f " (" device ")", f, NULL, NULL, device }
#define ON_BOTH(f)    ON("reference", f), ON("auto", f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(any_chunking_of_a_prompt_gives_the_same_bits),
		ON_BOTH(a_result_does_not_depend_on_the_other_sessions_in_the_batch),
		ON_BOTH(any_split_of_the_layers_into_ranges_gives_the_same_bits),
		ON_BOTH(what_was_truncated_leaves_no_trace),
		ON_BOTH(a_chain_of_stages_gives_the_bits_of_the_whole_model),
		ON_BOTH(a_cut_within_one_process_is_the_wires_arithmetic),
		ON_BOTH(rows_off_the_wire_give_the_bits_of_one_process_with_the_same_cuts),
		ON_BOTH(a_row_that_came_cut_is_not_cut_again),
		ON_BOTH(rows_that_travel_are_what_the_encoder_makes_of_them),
		ON_BOTH(a_cache_that_is_held_is_memory_at_once),
		ON_BOTH(what_overflows_is_refused_and_named),
		ON_BOTH(a_replayed_session_draws_the_same_tokens),
		ON_BOTH(the_golden_story_comes_out_byte_for_byte),
		cmocka_unit_test(opencl_gives_the_bits_of_the_reference),
		cmocka_unit_test(
			single_tokens_of_sessions_that_take_turns_have_the_reference_s_bits),
		cmocka_unit_test(families_have_the_reference_s_bits_on_opencl),
		cmocka_unit_test(families_have_the_reference_s_bits_in_the_simt_shape),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
