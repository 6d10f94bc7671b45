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
		.device = device, .n_ctx = N_CTX, .n_sessions = 2, .kv_type = kv
	};
	struct sherd_error err = { "" };
	struct sherd_model *m;

	if (tiny_model_open(&m, t, &p, &err))
		fail_msg("%s", err.msg);
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
	if (sherd_session_save(s, path, NULL, &err) || sherd_session_load(loaded, path, NULL, &err))
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

/* A session of 70 positions is in the file. */
static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->m = open_model(&tiny_plain, "reference", SHERD_KV_INT8);
	random_tokens(r->m, r->tokens);
	r->s = session(r->m, 0);
	feed(r->s, r->tokens, 70, NULL);
	assert_int_equal(sherd_session_save(r->s, path, NULL, &r->err), 0);
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
	int rc = sherd_session_load(s, path, NULL, &err);

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
		assert_true(sherd_session_load(s, path, NULL, &err) < 0);
		data[at] = was;
	}
	for (int i = 0; i < 100; i++) {
		write_back(data, tiny_below(&rng, (int)n));
		assert_true(sherd_session_load(s, path, NULL, &err) < 0);
		assert_int_equal(sherd_session_reach(s), 0);
	}
	write_back(data, n);
	assert_int_equal(sherd_session_load(s, path, NULL, &err), 0);
	free(data);
	sherd_session_free(s);
}

static void another_model_s_session_is_refused(void **state)
{
	struct tiny_model other = tiny_plain;
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
	struct sherd_model *m = open_model(&tiny_plain, "reference", SHERD_KV_F16);
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
		.device = "reference", .n_ctx = 69, .kv_type = SHERD_KV_INT8
	};
	struct sherd_error err;
	struct sherd_session *s;
	struct sherd_model *m;

	(void)state;
	assert_int_equal(tiny_model_open(&m, &tiny_plain, &p, &err), 0);
	s = session(m, 0);
	refused(s, -ENOSPC, "-c");
	sherd_session_free(s);
	sherd_model_close(m);
}

static void only_a_session_at_its_beginning_loads_one(void **state)
{
	struct rig *r = *state;

	assert_int_equal(sherd_session_load(r->s, path, NULL, &r->err), -EINVAL);
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
	assert_int_equal(sherd_session_save(s, path, NULL, &r->err), 0);
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
	assert_int_equal(sherd_session_save(r->s, path, NULL, &err), -EINVAL);
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

/* ------------------------------------------------------------------ notes */

static const char words[] = "what the caller wants to keep";

static void save_with_note(struct rig *r)
{
	assert_int_equal(sherd_session_save(r->s, path, words, &r->err), 0);
}

/* @code and a note, or none. */
static void loads(struct sherd_session *s, int code, const char *want)
{
	struct sherd_error err;
	char *note = (char *)words;

	assert_int_equal(sherd_session_load(s, path, &note, &err), code);
	if (want)
		assert_string_equal(note, want);
	else
		assert_null(note);
	assert_int_equal(sherd_session_reach(s), code ? 0 : sherd_session_pos(s));
	free(note);
}

static void a_note_comes_back(void **state)
{
	struct rig *r = *state;
	struct sherd_session *s = session(r->m, 0);

	loads(s, 0, NULL); /* there was none */
	assert_int_equal(sherd_session_pos(s), 70);
	save_with_note(r);
	assert_int_equal(sherd_session_truncate(s, 0, NULL), 0);
	loads(s, 0, words);
	assert_int_equal(sherd_session_pos(s), 70);
	sherd_session_free(s);
}

static void a_note_comes_back_though_its_cache_is_of_no_use(void **state)
{
	struct rig *r = *state;
	struct sherd_model *other = open_model(&tiny_plain, "reference", SHERD_KV_F16);
	struct sherd_session *s = session(other, 0), *cut = session(r->m, 2);
	size_t n;
	char *data;

	save_with_note(r);
	loads(s, -ESTALE, words);
	loads(cut, -ESTALE, words);
	data = read_back(&n);
	data[n - 100] ^= 1; /* of the pages */
	write_back(data, n);
	loads(cut, -ESTALE, words);
	sherd_session_free(cut);
	cut = session(r->m, 0);
	loads(cut, -EINVAL, words);
	data[208] ^= 1; /* of the tokens, and the note is no better than they */
	write_back(data, n);
	loads(cut, -EINVAL, NULL);
	free(data);
	sherd_session_free(cut);
	sherd_session_free(s);
	sherd_model_close(other);
}

static void a_session_at_its_beginning_keeps_a_note_on_any_device(void **state)
{
	struct rig *r = *state;
	struct sherd_session *s = session(r->m, 0), *cut = session(r->m, 2);
	const char *was = r->m->info.bit_profile;
	struct sherd_error err;

	r->m->info.bit_profile = SHERD_UNTESTED;
	assert_int_equal(sherd_session_save(s, path, words, &err), 0);
	loads(cut, 0, words);
	assert_int_equal(sherd_session_pos(cut), 0);
	r->m->info.bit_profile = was;
	sherd_session_free(s);
	sherd_session_free(cut);
}

/* --------------------------------------------------- a file that changes */

static const struct sherd_exec_ops *true_ops;
static void (*meanwhile)(void);

static int write_page_meanwhile(struct sherd_exec *e, int page, const void *bytes,
				struct sherd_error *err)
{
	meanwhile();
	return true_ops->write_page(e, page, bytes, err);
}

/* Its last byte but the checksum's is of the second page. */
static void change_the_second_page(void)
{
	struct stat st;
	FILE *f = fopen(path, "r+");

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	fseek(f, st.st_size - 5, SEEK_SET);
	fputc('x', f);
	fclose(f);
}

static void cut_off_the_second_page(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	if (st.st_size > 10000)
		assert_int_equal(truncate(path, st.st_size - 10000), 0);
}

static void a_file_that_changes_while_it_is_read_is_refused(void **state)
{
	struct rig *r = *state;
	struct sherd_session *s = session(r->m, 0);
	struct sherd_exec_ops ops = *r->m->exec->ops;

	true_ops = r->m->exec->ops;
	ops.write_page = write_page_meanwhile;
	r->m->exec->ops = &ops;
	meanwhile = change_the_second_page;
	refused(s, -EINVAL, "damaged");
	save_with_note(r);
	meanwhile = cut_off_the_second_page;
	refused(s, -EINVAL, "damaged");
	r->m->exec->ops = true_ops;
	sherd_session_free(s);
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
		WITH_RIG(a_note_comes_back),
		WITH_RIG(a_note_comes_back_though_its_cache_is_of_no_use),
		WITH_RIG(a_session_at_its_beginning_keeps_a_note_on_any_device),
		WITH_RIG(a_file_that_changes_while_it_is_read_is_refused),
	};
	rng = tiny_seed();
	return cmocka_run_group_tests(tests, make, remove_all);
}
