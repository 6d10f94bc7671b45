/* SPDX-License-Identifier: MIT */
/*
 * Saved sessions in sentences: who loads one goes on with the bits of who saved it, and whatever is
 * not exactly that is refused, with nothing taken.
 */
#include <stdlib.h>
#include "scratch.h"
#include "infer/infer.h"
#include "tiny_model.h"

#define N_CTX 200

static uint64_t rng;
static char *path;

static struct sherd_model *open_model(const struct tiny_model *t, const char *device,
				      enum sherd_kv_type kv)
{
	struct sherd_model_params p = {
		.device = device, .n_ctx = N_CTX, .n_sessions = 2, .kv_type = kv, .no_cache = true
	};
	struct sherd_error err = { "" };
	struct sherd_model *m;
	char *file = tiny_model_write(t);

	if (sherd_model_open(&m, file, &p, &err))
		fail_msg("%s", err.msg);
	unlink(file);
	free(file);
	return m;
}

static struct sherd_session *session(struct sherd_model *m, int cut)
{
	struct sherd_session_params p = { .cuts = &cut,
					  .n_cuts = cut > 0,
					  .sampler = { .repeat_penalty = 1 } };
	struct sherd_session *s;
	struct sherd_error err;

	if (sherd_session_new(&s, m, &p, &err))
		fail_msg("%s", err.msg);
	return s;
}

static void feed(struct sherd_session *s, const int32_t *tokens, int n, float *logits)
{
	struct sherd_error err;
	const float *got;

	if (sherd_prefill(s, tokens, n, &got, &err))
		fail_msg("%s", err.msg);
	if (logits)
		memcpy(logits, got, s->model->info.n_vocab * sizeof(*got));
}

static void random_tokens(const struct sherd_model *m, int32_t tokens[N_CTX])
{
	for (int i = 0; i < N_CTX; i++)
		tokens[i] = tiny_below(&rng, m->info.n_vocab);
}

/* In a session that @other has used pages before, and with its own pages behind those of another. */
static void goes_on(const struct tiny_model *t, const char *device, enum sherd_kv_type kv, int cut)
{
	struct sherd_model *m = open_model(t, device, kv), *again = open_model(t, device, kv);
	struct sherd_session *s = session(m, cut), *other = session(again, 0);
	struct sherd_session *loaded = session(again, cut);
	int n_vocab = m->info.n_vocab, n = 1 + tiny_below(&rng, N_CTX - 10), n_got;
	float *want = calloc(n_vocab, sizeof(float)), *got = calloc(n_vocab, sizeof(float));
	int32_t tokens[N_CTX];
	struct sherd_error err = { "" };

	random_tokens(m, tokens);
	feed(s, tokens, n, NULL);
	feed(other, tokens + 3, 70, NULL);
	if (sherd_session_save(s, path, &err) || sherd_session_load(loaded, path, &err))
		fail_msg("%s, %s: %s", tiny_model_describe(t), device, err.msg);
	assert_int_equal(sherd_session_pos(loaded), n);
	assert_memory_equal(sherd_session_tokens(loaded, &n_got), tokens, n * sizeof(*tokens));
	assert_int_equal(n_got, n);
	feed(s, tokens + n, 5, want);
	feed(loaded, tokens + n, 5, got);
	assert_memory_equal(got, want, n_vocab * sizeof(*got));
	free(want);
	free(got);
	sherd_session_free(s);
	sherd_session_free(loaded);
	sherd_session_free(other);
	assert_int_equal(again->pool.n_free, again->pool.n_pages);
	sherd_model_close(m);
	sherd_model_close(again);
}

static void who_loads_a_session_goes_on_with_its_bits(void **state)
{
	const struct tiny_model *t;
	int kv;

	(void)state;
	for (t = tiny_models; t->arch; t++)
		for (kv = 0; kv < 3; kv++)
			goes_on(t, "reference", kv, t->n_layers > 1 ? 1 : 0);
	for (kv = 0; kv < 3; kv++)
		goes_on(&tiny_models[0], "cpu", kv, 0);
}

struct rig {
	struct sherd_model *m;
	struct sherd_session *s;
	int32_t tokens[N_CTX];
	struct sherd_error err;
};

static const struct tiny_model shape = {
	.arch = "llama",
	.n_layers = 3,
	.hidden = 64,
	.n_heads = 2,
	.n_kv_heads = 1,
	.head_dim = 32,
	.ffn = 64,
	.n_vocab = 40,
	.n_ctx = 256,
	.type = GGML_Q8_0,
	.embd_type = GGML_Q8_0,
	.seed = 9,
};

/* A session of 70 positions is in the file. */
static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->m = open_model(&shape, "reference", SHERD_KV_INT8);
	random_tokens(r->m, r->tokens);
	r->s = session(r->m, 0);
	feed(r->s, r->tokens, 70, NULL);
	assert_int_equal(sherd_session_save(r->s, path, &r->err), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	sherd_session_free(r->s);
	assert_int_equal(r->m->pool.n_free, r->m->pool.n_pages);
	sherd_model_close(r->m);
	free(r);
	return 0;
}

/* @s is refused with @code and a sentence that has @says, and has taken nothing. */
static void refused(struct sherd_session *s, int code, const char *says)
{
	struct sherd_error err = { "" };
	int rc = sherd_session_load(s, path, &err);

	if (rc != code || !strstr(err.msg, says) || !strstr(err.msg, path))
		fail_msg("%d: \"%s\", and not %d: \"%s\"", rc, err.msg, code, says);
	assert_int_equal(sherd_session_reach(s), 0);
	assert_int_equal(s->table.n, 0);
}

static char *read_back(size_t *n)
{
	struct sherd_error err;
	char *data;

	if (sherd_read_file(path, 1 << 24, &data, n, &err))
		fail_msg("%s", err.msg);
	return data;
}

static void write_back(const char *data, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
}

static void a_damaged_file_is_refused_wherever_the_damage_is(void **state)
{
	struct rig *r = *state;
	struct sherd_session *s = session(r->m, 0);
	struct sherd_error err;
	size_t n;
	char *data = read_back(&n);

	for (int i = 0; i < 300; i++) {
		size_t at = i < 200 ? (size_t)i : (size_t)tiny_below(&rng, (int)n);
		char was = data[at];

		data[at] ^= 1 << tiny_below(&rng, 8);
		write_back(data, n);
		assert_true(sherd_session_load(s, path, &err) < 0);
		data[at] = was;
	}
	for (int i = 0; i < 100; i++) {
		write_back(data, tiny_below(&rng, (int)n));
		assert_true(sherd_session_load(s, path, &err) < 0);
		assert_int_equal(sherd_session_reach(s), 0);
	}
	write_back(data, n);
	assert_int_equal(sherd_session_load(s, path, &err), 0);
	free(data);
	sherd_session_free(s);
}

static void another_model_s_session_is_refused(void **state)
{
	struct tiny_model other = shape;
	struct sherd_model *m;
	struct sherd_session *s;

	(void)state;
	other.seed = 10;
	m = open_model(&other, "reference", SHERD_KV_INT8);
	s = session(m, 0);
	refused(s, -ESTALE, "another model");
	sherd_session_free(s);
	sherd_model_close(m);
}

static void another_cache_s_session_is_refused(void **state)
{
	struct sherd_model *m = open_model(&shape, "reference", SHERD_KV_F16);
	struct sherd_session *s = session(m, 0);

	(void)state;
	refused(s, -ESTALE, "KV cache");
	sherd_session_free(s);
	sherd_model_close(m);
}

static void a_session_with_other_cuts_is_refused(void **state)
{
	struct rig *r = *state;
	struct sherd_session *s = session(r->m, 2);

	refused(s, -ESTALE, "other cuts");
	sherd_session_free(s);
}

static void a_session_longer_than_the_context_is_refused(void **state)
{
	struct sherd_model_params p = {
		.device = "reference", .n_ctx = 69, .no_cache = true, .kv_type = SHERD_KV_INT8
	};
	struct sherd_error err;
	struct sherd_session *s;
	struct sherd_model *m;
	char *file = tiny_model_write(&shape);

	(void)state;
	assert_int_equal(sherd_model_open(&m, file, &p, &err), 0);
	s = session(m, 0);
	refused(s, -ENOSPC, "-c");
	sherd_session_free(s);
	sherd_model_close(m);
	unlink(file);
	free(file);
}

static void only_a_session_at_its_beginning_loads_one(void **state)
{
	struct rig *r = *state;

	assert_int_equal(sherd_session_load(r->s, path, &r->err), -EINVAL);
	assert_int_equal(sherd_session_pos(r->s), 70);
}

static void what_is_no_session_is_refused(void **state)
{
	struct rig *r = *state;
	struct sherd_session *s = session(r->m, 0);

	write_back("hello, I am a letter", 20);
	refused(s, -EINVAL, "no saved session");
	unlink(path);
	refused(s, -ENOENT, "cannot open");
	sherd_session_free(s);
}

static void nothing_of_other_sessions_is_in_the_file(void **state)
{
	struct rig *r = *state;
	struct sherd_session *s;
	size_t n, n2;
	char *first = read_back(&n), *second;

	/* The same session in pages that another one has filled. */
	feed(r->s, r->tokens, N_CTX - 70, NULL);
	sherd_session_free(r->s);
	s = r->s = session(r->m, 0);
	feed(s, r->tokens, 70, NULL);
	assert_int_equal(sherd_session_save(s, path, &r->err), 0);
	second = read_back(&n2);
	assert_int_equal(n, n2);
	assert_memory_equal(first, second, n);
	free(first);
	free(second);
}

static void a_session_of_untested_bits_is_not_saved(void **state)
{
	struct rig *r = *state;
	const char *was = r->m->info.bit_profile;
	struct sherd_error err = { "" };

	r->m->info.bit_profile = SHERD_UNTESTED;
	unlink(path);
	assert_int_equal(sherd_session_save(r->s, path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not tested"));
	assert_int_equal(access(path, F_OK), -1);
	r->m->info.bit_profile = was;
}

static void nobody_else_reads_the_file(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static int make(void **state)
{
	int rc = scratch_make(state);

	path = sherd_asprintf("%s/session", dir);
	return rc;
}

static int remove_all(void **state)
{
	free(path);
	return scratch_remove(state);
}

#define WITH_RIG(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_loads_a_session_goes_on_with_its_bits),
		WITH_RIG(a_damaged_file_is_refused_wherever_the_damage_is),
		WITH_RIG(another_model_s_session_is_refused),
		WITH_RIG(another_cache_s_session_is_refused),
		WITH_RIG(a_session_with_other_cuts_is_refused),
		WITH_RIG(a_session_longer_than_the_context_is_refused),
		WITH_RIG(only_a_session_at_its_beginning_loads_one),
		WITH_RIG(what_is_no_session_is_refused),
		WITH_RIG(nothing_of_other_sessions_is_in_the_file),
		WITH_RIG(nobody_else_reads_the_file),
		WITH_RIG(a_session_of_untested_bits_is_not_saved),
	};
	rng = tiny_seed();
	return cmocka_run_group_tests(tests, make, remove_all);
}
