/* SPDX-License-Identifier: MIT */
/*
 * Stages in sentences: several of them, each with a part of the layers, draw the tokens of one
 * process with the same cuts, whatever the company; what is wrong with a session's rows is that
 * session's failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "model/shard.h"
#include "post_loop.h"
#include "stage.h"
#include "tiny_model.h"

#define N_LAYERS   6
#define N_CTX	   192
#define N_BATCH	   48
#define MAX_STAGES 3

static uint64_t rng;
static struct tiny_model tiny;
static char *file;

static void says(const struct sherd_error *err, const char *words)
{
	if (!strstr(err->msg, words))
		fail_msg("\"%s\" does not say \"%s\"", err->msg, words);
}

/* ------------------------------------------------------------------ stages */

static struct sherd_stage *new_stage(int first, int end, const struct stage_params *like)
{
	struct stage_params p = like ? *like : (struct stage_params){ .model = file };
	struct sherd_error err;
	struct sherd_stage *s;

	p.model = p.model ? p.model : file;
	p.spec.first = first;
	p.spec.end = end;
	p.spec.n_ctx = N_CTX;
	p.spec.n_sessions = 3;
	p.spec.n_batch = N_BATCH;
	p.base.device = "reference";
	p.base.no_cache = true;
	p.dilate = (float)tiny_below(&rng, 3);
	p.turns = -1;
	p.post = loop_post;
	p.loop = &loop;
	if (stage_new(&s, &p, &err))
		fail_msg("%s", err.msg);
	return s;
}

static struct sherd_stage *loaded(int first, int end)
{
	struct sherd_stage *s = new_stage(first, end, NULL);
	struct sherd_job job = { .kind = SHERD_JOB_LOAD };

	if (stage_do(s, &job))
		fail_msg("%s", job.err.msg);
	return s;
}

static void put_stage(struct sherd_stage *s)
{
	s->ops->put(s);
	while (loop_run(false))
		;
}

/* Leaves the sentence in @err. */
static int open_session(struct sherd_stage *s, const struct sherd_stage_session *session,
			struct sherd_error *err)
{
	struct sherd_job job = { .kind = SHERD_JOB_OPEN, .session = session };
	int rc = stage_do(s, &job);

	*err = job.err;
	return rc;
}

static void close_session(struct sherd_stage *s, uint64_t id)
{
	struct sherd_job job = { .kind = SHERD_JOB_CLOSE, .id = id };

	assert_int_equal(stage_do(s, &job), 0);
}

/* ------------------------------------------------------------------- chain */

#define N_TALKS 3

/* A session, and the tokens that one process gives it. */
struct talk {
	struct sherd_stage_session s;
	int32_t tokens[N_CTX]; /* the prompt, then what was drawn */
	int n_prompt, n, pos;  /* tokens in all; rows that have been through all stages */
};

struct chain {
	struct sherd_stage *stage[MAX_STAGES];
	int n, cuts[MAX_STAGES];
	struct talk talks[N_TALKS];
};

/* What one process makes of it, with the same cuts. */
static void talk_alone(struct talk *t)
{
	const struct sherd_model_params p = { .device = "reference",
					      .no_cache = true,
					      .n_ctx = N_CTX };
	struct sherd_model *m;
	struct sherd_session *s;
	struct sherd_error err;
	const float *logits;
	int i;

	if (sherd_model_open(&m, file, &p, &err) || sherd_session_new(&s, m, &t->s.params, &err) ||
	    sherd_prefill(s, t->tokens, t->n_prompt, &logits, &err))
		fail_msg("%s", err.msg);
	for (i = t->n_prompt; i < t->n; i++) {
		t->tokens[i] = sherd_session_sample(s, logits);
		assert_int_equal(sherd_prefill(s, &t->tokens[i], 1, &logits, &err), 0);
	}
	sherd_session_free(s);
	sherd_model_close(m);
}

static void talk_make(struct chain *c, int i, int n_prompt)
{
	struct talk *t = &c->talks[i];

	t->s = (struct sherd_stage_session){ .id = 0xabc00 + (uint64_t)i, .max = N_CTX };
	t->s.params.sampler = (struct sherd_sampler_params)SHERD_SAMPLER_PARAMS_INIT;
	t->s.params.sampler.seed = (uint64_t)tiny_random(&rng) << 32 | tiny_random(&rng);
	t->s.params.sampler.repeat_penalty = 1.3f;
	t->s.params.sampler.repeat_last_n = 20;
	t->s.params.cuts = c->cuts;
	t->s.params.n_cuts = c->n - 1;
	t->s.params.wire = (enum sherd_wire)tiny_below(&rng, 3);
	t->n_prompt = n_prompt ? n_prompt : 1 + tiny_below(&rng, 90);
	t->n = t->n_prompt + 20;
	for (int k = 0; k < t->n_prompt; k++)
		t->tokens[k] = tiny_below(&rng, tiny.n_vocab);
	talk_alone(t);
}

/* @n_prompt: of each session; 0: any. */
static void chain_open(struct chain *c, int n_stages, int n_prompt)
{
	struct sherd_error err;
	int at[MAX_STAGES + 1] = { 0 }, i, k;

	memset(c, 0, sizeof(*c));
	c->n = n_stages;
	for (i = 1; i < n_stages; i++)
		at[i] = at[i - 1] + 1 + tiny_below(&rng, N_LAYERS - at[i - 1] - (n_stages - i));
	at[n_stages] = N_LAYERS;
	memcpy(c->cuts, at + 1, (size_t)(n_stages - 1) * sizeof(*at));
	for (i = 0; i < N_TALKS; i++)
		talk_make(c, i, n_prompt);
	for (k = 0; k < n_stages; k++) {
		c->stage[k] = loaded(at[k], at[k + 1]);
		for (i = 0; i < N_TALKS; i++)
			if (open_session(c->stage[k], &c->talks[i].s, &err))
				fail_msg("%s", err.msg);
	}
}

static void chain_close(struct chain *c)
{
	for (int k = 0; k < c->n; k++)
		put_stage(c->stage[k]);
}

static struct sherd_job_item make_item(const struct talk *t, int n)
{
	return (struct sherd_job_item){ .session = t->s.id,
					.position = (uint32_t)t->pos,
					.n = n,
					.tokens = t->tokens + t->pos,
					.want = t->pos + n >= t->n_prompt };
}

/*
 * What stage @k says of the items. The rows they came with are freed; they leave with the next
 * ones.
 */
static void chain_step(struct chain *c, int k, struct sherd_job_item *items, int n_items)
{
	const struct sherd_stage_info *info = &c->stage[k]->info;
	struct sherd_job job = { .kind = SHERD_JOB_STEP, .items = items, .n_items = n_items };

	for (int i = 0; i < n_items; i++) {
		enum sherd_wire wire = c->talks[items[i].session & 0xff].s.params.wire;

		items[i].rows = items[i].out; /* the stage's before */
		items[i].out =
			k == c->n - 1 ? NULL : malloc((size_t)items[i].n * info->row_bytes[wire]);
	}
	assert_int_equal(stage_do(c->stage[k], &job), 0);
	for (int i = 0; i < n_items; i++)
		free((void *)items[i].rows);
}

/*
 * Some rows of some sessions through all stages; the tokens that come out are those of one process.
 */
static void chain_round(struct chain *c)
{
	struct sherd_job_item items[N_TALKS];
	struct talk *whose[N_TALKS];
	int n_items = 0, room = N_BATCH, i, k;

	for (i = 0; i < N_TALKS; i++) {
		struct talk *t = &c->talks[i];
		int left = MAX(t->n_prompt - t->pos, 1), n = 1 + tiny_below(&rng, 30);

		n = MIN(MIN(n, left), room);
		if (t->pos == t->n - 1 || n < 1 || tiny_below(&rng, 3) == 0)
			continue;
		room -= n;
		whose[n_items] = t;
		items[n_items++] = make_item(t, n);
	}
	for (k = 0; k < c->n; k++)
		chain_step(c, k, items, n_items);
	for (i = 0; i < n_items; i++) {
		if (items[i].rc)
			fail_msg("%s", items[i].err.msg);
		whose[i]->pos += items[i].n;
		if (items[i].want)
			assert_int_equal(items[i].token, whose[i]->tokens[whose[i]->pos]);
	}
}

static void check_chain(int n_stages)
{
	struct chain c;
	int i, busy;

	chain_open(&c, n_stages, 0);
	do {
		chain_round(&c);
		for (i = busy = 0; i < N_TALKS; i++)
			busy += c.talks[i].pos < c.talks[i].n - 1;
	} while (busy);
	chain_close(&c);
}

static void stages_in_a_chain_draw_the_tokens_of_one_process(void **state)
{
	int rounds = getenv("SHERD_LONG") ? 20 : 2;

	(void)state;
	while (rounds--) {
		check_chain(1);
		check_chain(2);
		check_chain(3);
	}
}

/* ---------------------------------------------------------------- refusals */

static void a_loaded_stage_says_what_it_is(void **state)
{
	struct sherd_stage *s = loaded(2, 4);
	const struct sherd_stage_info *i = &s->info;
	enum sherd_wire wire;

	(void)state;
	assert_int_equal(i->first, 2);
	assert_int_equal(i->end, 4);
	assert_int_equal(i->n_layers, N_LAYERS);
	assert_int_equal(i->n_batch, N_BATCH);
	assert_int_equal(i->n_ctx, N_CTX);
	assert_int_equal(i->room, 3 * N_CTX);
	assert_int_equal(strlen(i->bit_profile), SHERD_SHA256_HEX - 1);
	assert_int_equal(strlen(i->model), SHERD_SHA256_HEX - 1);
	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++)
		assert_int_equal(i->row_bytes[wire], sherd_wire_bytes(wire, 1, tiny.hidden));
	put_stage(s);
}

static void refuse_load(const char *model, const char *hash, int first, int end, const char *words)
{
	struct stage_params p = { .model = model };
	struct sherd_job job = { .kind = SHERD_JOB_LOAD };
	struct sherd_stage_session session = { .max = 1 };
	struct sherd_error err;
	struct sherd_stage *s;

	snprintf(p.spec.model, sizeof(p.spec.model), "%s", hash);
	s = new_stage(first, end, &p);
	assert_int_not_equal(stage_do(s, &job), 0);
	says(&job.err, words);
	assert_int_equal(open_session(s, &session, &err), -ENODEV);
	says(&err, "has not been loaded");
	put_stage(s);
}

static void a_file_that_is_not_the_stages_is_refused(void **state)
{
	static const char hash[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	(void)state;
	refuse_load("/nonexistent/model.gguf", "", 0, 1, "/nonexistent/model.gguf");
	refuse_load(file, hash, 0, 2, "0123456789ab...");
	refuse_load(file, "", 4, 9, "4-8");
}

/* A node's own shard has the stage's layers, and no others. */
static void a_shard_of_other_layers_is_refused(void **state)
{
	static const struct sherd_pack_params pack = { .first_layer = 2, .end_layer = 4 };
	struct stage_params p = { .model = NULL };
	struct sherd_job job = { .kind = SHERD_JOB_LOAD };
	char path[] = "/tmp/sherd-test-XXXXXX";
	int fd = mkstemp(path);
	struct sherd_error err;
	struct sherd_stage *s;
	struct gguf *g;

	(void)state;
	if (gguf_open(&g, file, &err) || sherd_pack(g, fd, path, &pack, NULL, &err))
		fail_msg("%s", err.msg);
	gguf_close(g);
	close(fd);
	p.model = path;
	s = new_stage(2, 4, &p);
	assert_int_equal(stage_do(s, &job), 0);
	memcpy(p.spec.model, s->info.model, sizeof(p.spec.model));
	put_stage(s);
	s = new_stage(2, 4, &p);
	assert_int_equal(stage_do(s, &job), 0);
	put_stage(s);
	refuse_load(path, "", 2, 5, "holds layers 2 to 3, and 2 to 4 are wanted");
	unlink(path);
}

static void a_session_that_does_not_fit_is_refused_with_the_numbers(void **state)
{
	static const int cuts[] = { 2, 4 };
	struct sherd_stage *s = loaded(2, 4), *last = loaded(4, N_LAYERS);
	struct sherd_stage_session x = { .id = 1, .max = N_CTX, .params = { .cuts = cuts } };
	struct sherd_error err;

	(void)state;
	x.params.n_cuts = 1;
	assert_int_equal(open_session(s, &x, &err), -EINVAL);
	says(&err, "layers 2 to 3");
	x.params.n_cuts = 2;
	assert_int_equal(open_session(s, &x, &err), 0);
	assert_int_equal(open_session(s, &x, &err), -EEXIST);
	x.id = 2;
	x.max = N_CTX + 1;
	assert_int_equal(open_session(s, &x, &err), -EINVAL);
	says(&err, "193 positions");
	x.max = 0;
	assert_int_equal(open_session(s, &x, &err), -EINVAL);
	x.max = N_CTX;
	assert_int_equal(open_session(s, &x, &err), 0);
	x.id = 3;
	x.max = 129; /* three pages */
	assert_int_equal(open_session(s, &x, &err), 0);
	x.id = 4;
	x.max = 1;
	assert_int_equal(open_session(s, &x, &err), -ENOSPC);
	says(&err, "576");
	says(&err, "3 sessions");
	close_session(s, 77);
	assert_int_equal(open_session(s, &x, &err), -ENOSPC);
	close_session(s, 3);
	assert_int_equal(open_session(s, &x, &err), 0);
	x.ignore_eos = true;
	assert_int_equal(open_session(last, &x, &err), -ENOENT);
	says(&err, "no tokenizer");
	put_stage(s);
	put_stage(last);
}

/* Sessions come and go, each with all of its positions: nothing is left behind. */
static void closed_sessions_leave_the_cache_as_it_was(void **state)
{
	struct sherd_stage *s = loaded(0, N_LAYERS);
	struct sherd_stage_session x = { .max = N_CTX };
	int32_t tokens[N_BATCH] = { 0 };
	struct sherd_error err;
	int round, pos;

	(void)state;
	for (round = 0; round < 5; round++) {
		x.id = (uint64_t)round;
		if (open_session(s, &x, &err))
			fail_msg("%s", err.msg);
		for (pos = 0; pos < N_CTX; pos += N_BATCH) {
			struct sherd_job_item it = { .session = x.id,
						     .position = (uint32_t)pos,
						     .n = N_BATCH,
						     .tokens = tokens };
			struct sherd_job job = { .kind = SHERD_JOB_STEP,
						 .items = &it,
						 .n_items = 1 };

			assert_int_equal(stage_do(s, &job), 0);
			assert_int_equal(it.rc, 0);
		}
		close_session(s, x.id);
	}
	put_stage(s);
}

/* ------------------------------------------------------------- cut by whom */

#define N_SMALL 4

/* What layers 2 and 3 make of the rows, in one process, as bytes of the int8 wire. */
static void small_rows_alone(const struct sherd_session_params *params, const uint8_t *rows,
			     bool wired, uint8_t *out)
{
	const struct sherd_model_params p = { .device = "reference", .no_cache = true,
					      .first_layer = 2, .end_layer = 4, .n_ctx = N_CTX };
	float *x = calloc(N_SMALL * (size_t)tiny.hidden, sizeof(*x));
	struct sherd_item item = { .hidden = x, .n = N_SMALL, .want = SHERD_WANT_ALL,
				   .wired = wired };
	struct sherd_error err;
	struct sherd_model *m;
	struct sherd_rows got;

	assert_int_equal(sherd_wire_decode(params->wire, rows, N_SMALL, tiny.hidden, x, &err), 0);
	if (sherd_model_open(&m, file, &p, &err) ||
	    sherd_session_new(&item.session, m, params, &err) ||
	    sherd_step(m, &item, 1, 0, 0, &got, &err) ||
	    sherd_wire_encode(params->wire, got.data, N_SMALL, tiny.hidden, out, &err))
		fail_msg("%s", err.msg);
	sherd_session_free(item.session);
	sherd_model_close(m);
	free(x);
}

/* Rows so small that a second cut would change them. */
static void what_the_sender_has_cut_the_stage_does_not_cut(void **state)
{
	static const int cuts[] = { 2, 4 };
	size_t size = sherd_wire_bytes(SHERD_WIRE_INT8, N_SMALL, tiny.hidden);
	uint8_t *rows = malloc(size), *out = malloc(size), *want = malloc(size);
	float *x = calloc(N_SMALL * (size_t)tiny.hidden, sizeof(*x));
	struct sherd_stage *s = loaded(2, 4);
	struct sherd_stage_session session = { .id = 1, .max = N_SMALL,
					       .params = { .cuts = cuts, .n_cuts = 2 } };
	int32_t tokens[N_SMALL] = { 0 };
	struct sherd_job_item it = { .session = 1, .n = N_SMALL, .tokens = tokens, .rows = rows,
				     .out = out };
	struct sherd_error err;

	(void)state;
	for (int i = 0; i < N_SMALL * tiny.hidden; i++)
		x[i] = 1.5001f * 0x1p-24f * 127.0f * (float)(1 + tiny_below(&rng, 32)) / 32.0f;
	if (sherd_wire_encode(SHERD_WIRE_INT8, x, N_SMALL, tiny.hidden, rows, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(open_session(s, &session, &err), 0);
	assert_int_equal(stage_do(s, &(struct sherd_job){ .kind = SHERD_JOB_STEP, .items = &it,
							  .n_items = 1 }), 0);
	assert_int_equal(it.rc, 0);
	small_rows_alone(&session.params, rows, false, want);
	/* where biases are, such rows drown in them */
	if (!strcmp(tiny.arch, "llama"))
		assert_memory_not_equal(out, want, size);
	small_rows_alone(&session.params, rows, true, want);
	assert_memory_equal(out, want, size);
	put_stage(s);
	free(x);
	free(rows);
	free(out);
	free(want);
}

/* ------------------------------------------------------- one of many fails */

#define N_SOME 7

/* The second stage, with rows that the first has made and that stay the caller's. */
static void second_step(struct chain *c, struct sherd_job_item *items, int n_items)
{
	struct sherd_job job = { .kind = SHERD_JOB_STEP, .items = items, .n_items = n_items };

	assert_int_equal(stage_do(c->stage[1], &job), 0);
}

/* Prompts of two sessions, through the first of two stages. */
static void first_step(struct chain *c, struct sherd_job_item items[2])
{
	chain_open(c, 2, N_SOME);
	for (int i = 0; i < 2; i++)
		items[i] = make_item(&c->talks[i], N_SOME);
	chain_step(c, 0, items, 2);
	for (int i = 0; i < 2; i++) {
		items[i].rows = items[i].out;
		items[i].out = NULL;
	}
}

static void last_step(struct chain *c, struct sherd_job_item items[2])
{
	for (int i = 0; i < 2; i++)
		free((void *)items[i].rows);
	chain_close(c);
}

/* Finite, and too large for the norm that comes next. */
static bool damage_huge(uint8_t *rows, enum sherd_wire wire)
{
	const float huge = 1e30f;

	memcpy(rows + 8, &huge, sizeof(huge));
	return wire == SHERD_WIRE_F32;
}

/* int8: scales come last. */
static bool damage_nan(uint8_t *rows, enum sherd_wire wire)
{
	memset(rows + sherd_wire_bytes(wire, 1, tiny.hidden) - 4, 0xff, 4);
	return true;
}

/*
 * One session's rows are damaged, and come again as they should; the other's token is right at
 * once.
 */
static bool check_damage(bool (*damage)(uint8_t *, enum sherd_wire), int rc, const char *words)
{
	int bad = tiny_below(&rng, 2);
	struct sherd_job_item items[2];
	struct chain c;
	uint8_t *good;
	size_t size;
	bool matters;

	first_step(&c, items);
	size = N_SOME * c.stage[0]->info.row_bytes[c.talks[bad].s.params.wire];
	good = malloc(size);
	memcpy(good, items[bad].rows, size);
	matters = damage((uint8_t *)items[bad].rows, c.talks[bad].s.params.wire);
	if (matters) {
		second_step(&c, items, 2);
		assert_int_equal(items[bad].rc, rc);
		says(&items[bad].err, words);
		assert_int_equal(items[bad].token, -1);
		assert_int_equal(items[!bad].rc, 0);
		assert_int_equal(items[!bad].token, c.talks[!bad].tokens[N_SOME]);
		memcpy((uint8_t *)items[bad].rows, good, size);
		second_step(&c, &items[bad], 1);
		assert_int_equal(items[bad].rc, 0);
		assert_int_equal(items[bad].token, c.talks[bad].tokens[N_SOME]);
	}
	free(good);
	last_step(&c, items);
	return matters;
}

static void bad_rows_of_one_session_fail_no_other(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		check_damage(damage_nan, -EPROTO, "row 0");
}

static void an_overflow_of_one_session_fails_no_other(void **state)
{
	(void)state;
	while (!check_damage(damage_huge, -EDOM, "position 0"))
		;
}

/* What no neighbour sends is refused, each with its sentence, and moves nothing. */
static void items_that_do_not_fit_their_session_are_refused(void **state)
{
	struct sherd_job_item good[2], it[2];
	struct chain c;

	(void)state;
	first_step(&c, good);
#define REFUSED(n_items, which, code, words, ...)     \
	do {                                          \
		memcpy(it, good, sizeof(it));         \
		__VA_ARGS__;                          \
		second_step(&c, it, n_items);         \
		assert_int_equal(it[which].rc, code); \
		says(&it[which].err, words);          \
	} while (0)
	REFUSED(1, 0, -ENOENT, "session 7 is not open", it[0].session = 7);
	REFUSED(1, 0, -EPROTO, "from position 3, but the stage has got to 0", it[0].position = 3);
	REFUSED(1, 0, -EPROTO, "from position 4294967295", it[0].position = UINT32_MAX);
	REFUSED(1, 0, -E2BIG, "0 rows", it[0].n = 0);
	REFUSED(1, 0, -E2BIG, "49 rows, where the step of 48 rows has room for 48", it[0].n = 49);
	REFUSED(1, 0, -EINVAL, "take rows and keep them", it[0].rows = NULL);
	REFUSED(1, 0, -EINVAL, "token ids", it[0].tokens = NULL);
	REFUSED(1, 0, -EINVAL, "keep", it[0].out = it);
	REFUSED(1, 0, -EINVAL, "vocabulary", it[0].tokens = (int32_t[N_SOME]){ 0, tiny.n_vocab });
#undef REFUSED
	memcpy(it, good, sizeof(it));
	it[1] = it[0];
	second_step(&c, it, 2);
	assert_int_equal(it[0].rc, 0);
	assert_int_equal(it[0].token, c.talks[0].tokens[N_SOME]);
	assert_int_equal(it[1].rc, -EINVAL);
	says(&it[1].err, "twice");
	last_step(&c, good);
}

static void rows_beyond_what_a_session_asked_for_are_refused(void **state)
{
	struct sherd_stage *s = loaded(0, N_LAYERS);
	struct sherd_stage_session x = { .id = 5, .max = 3 };
	int32_t tokens[4] = { 0 };
	struct sherd_job_item it = { .session = 5, .n = 4, .tokens = tokens };
	struct sherd_job job = { .kind = SHERD_JOB_STEP, .items = &it, .n_items = 1 };
	struct sherd_error err;

	(void)state;
	assert_int_equal(open_session(s, &x, &err), 0);
	stage_do(s, &job);
	assert_int_equal(it.rc, -ENOSPC);
	says(&it.err, "beyond the 3");
	it.n = 3;
	stage_do(s, &job);
	assert_int_equal(it.rc, 0);
	put_stage(s);
}

/* ------------------------------------------------------------------- queue */

static int order[100], n_order;

static void note_order(void *ctx, struct sherd_job *job)
{
	assert_non_null(job);
	order[n_order++] = (int)(intptr_t)ctx;
}

static void jobs_are_done_in_order_and_each_once(void **state)
{
	struct sherd_stage *s = loaded(0, N_LAYERS);
	struct sherd_job jobs[100];
	int i;

	(void)state;
	n_order = 0;
	for (i = 0; i < 100; i++) {
		jobs[i] = (struct sherd_job){ .kind = SHERD_JOB_CLOSE,
					      .done = note_order,
					      .ctx = (void *)(intptr_t)i };
		s->ops->submit(s, &jobs[i]);
		if (tiny_below(&rng, 10) == 0)
			usleep(300); /* time to fall asleep */
		if (tiny_below(&rng, 10) == 0)
			loop_run(false);
	}
	while (n_order < 100)
		loop_run(true);
	for (i = 0; i < 100; i++)
		assert_int_equal(order[i], i);
	put_stage(s);
}

/* What is not done yet never says that it is: its memory may be gone. */
static void a_stage_that_is_put_says_nothing_more(void **state)
{
	int round, i, done;

	(void)state;
	for (round = 0; round < 20; round++) {
		struct sherd_stage *s = new_stage(0, 1, NULL);
		struct sherd_job *jobs = calloc(50, sizeof(*jobs));

		for (i = done = 0; i < 50; i++) {
			jobs[i] = (struct sherd_job){ .kind = i ? SHERD_JOB_CLOSE : SHERD_JOB_LOAD,
						      .done = loop_count,
						      .ctx = &done };
			s->ops->submit(s, &jobs[i]);
		}
		if (tiny_below(&rng, 2))
			usleep((useconds_t)tiny_below(&rng, 20000));
		for (i = tiny_below(&rng, 10); i > 0; i--)
			loop_run(false);
		s->ops->put(s);
		free(jobs);
		i = done;
		while (loop_run(false))
			;
		assert_int_equal(done, i);
	}
}

static int make_file(void **state)
{
	(void)state;
	tiny = tiny_below(&rng, 2) ? tiny_models[tiny_below(&rng, 2)] :
				     tiny_families[tiny_below(&rng, 16)];
	tiny.n_layers = N_LAYERS;
	file = tiny_model_write(&tiny);
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	unlink(file);
	free(file);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stages_in_a_chain_draw_the_tokens_of_one_process),
		cmocka_unit_test(a_loaded_stage_says_what_it_is),
		cmocka_unit_test(a_file_that_is_not_the_stages_is_refused),
		cmocka_unit_test(a_shard_of_other_layers_is_refused),
		cmocka_unit_test(a_session_that_does_not_fit_is_refused_with_the_numbers),
		cmocka_unit_test(closed_sessions_leave_the_cache_as_it_was),
		cmocka_unit_test(what_the_sender_has_cut_the_stage_does_not_cut),
		cmocka_unit_test(bad_rows_of_one_session_fail_no_other),
		cmocka_unit_test(an_overflow_of_one_session_fails_no_other),
		cmocka_unit_test(items_that_do_not_fit_their_session_are_refused),
		cmocka_unit_test(rows_beyond_what_a_session_asked_for_are_refused),
		cmocka_unit_test(jobs_are_done_in_order_and_each_once),
		cmocka_unit_test(a_stage_that_is_put_says_nothing_more),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, make_file, remove_file);
}
