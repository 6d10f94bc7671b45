/* SPDX-License-Identifier: MIT */
/* cache: packed once, found again, never in the way: locks, limits, broken and missing folders. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "model/cache.h"
#include "gguf_edit.h"
#include "tiny_model.h"

#define MIB (1ull << 20)

static char *home, *dir, *source;

/* What a call said and did. */
struct heard {
	int packed; /* calls of progress */
	char notes[4096];
};

static void on_progress(void *ctx, const char *what, uint64_t made, uint64_t total)
{
	(void)what;
	assert_true(made <= total);
	((struct heard *)ctx)->packed++;
}

static void on_note(void *ctx, const char *sentence)
{
	struct heard *h = ctx;

	strncat(h->notes, sentence, sizeof(h->notes) - strlen(h->notes) - 2);
	strcat(h->notes, "\n");
}

static struct sherd_shard *get(const char *path, int bits, bool no_cache, bool *in_memory,
			       struct heard *h)
{
	struct sherd_pack_params p = {
		.bits = bits, .progress = on_progress, .note = on_note, .ctx = h
	};
	struct sherd_error err = { "" };
	struct sherd_shard *s = NULL;

	memset(h, 0, sizeof(*h));
	if (sherd_shard_get(&s, path, &p, no_cache, in_memory, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(s->end_layer, 3);
	return s;
}

/* How many files the cache's folder has whose names end so; *one: the last one's path. */
static int count(const char *end, char **one)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	int n = 0;

	assert_non_null(d);
	while ((de = readdir(d))) {
		size_t len = strlen(de->d_name), m = strlen(end);

		if (de->d_name[0] == '.' || len < m || strcmp(de->d_name + len - m, end))
			continue;
		n++;
		if (one) {
			free(*one);
			*one = sherd_asprintf("%s/%s", dir, de->d_name);
		}
	}
	closedir(d);
	return n;
}

/* An empty cache and a model, for every test. */
static int set_up(void **state)
{
	char template[] = "/tmp/sherd-cache-XXXXXX";

	(void)state;
	home = strdup(mkdtemp(template));
	setenv("XDG_CACHE_HOME", home, 1);
	dir = sherd_cache_shards();
	source = tiny_model_write(&tiny_models[1]);
	return !dir;
}

static int tear_down(void **state)
{
	char *command = sherd_asprintf("rm -rf %s", home);

	(void)state;
	unlink(source);
	assert_int_equal(system(command), 0);
	free(command);
	free(home);
	free(dir);
	free(source);
	return 0;
}

static void a_model_is_packed_once_and_then_found(void **state)
{
	struct heard h;
	bool in_memory;

	(void)state;
	sherd_shard_close(get(source, 0, false, &in_memory, &h));
	assert_true(h.packed > 0);
	assert_false(in_memory);
	sherd_shard_close(get(source, 0, false, &in_memory, &h));
	assert_int_equal(h.packed, 0);
	assert_false(in_memory);
	assert_string_equal(h.notes, "");
	assert_int_equal(count(".shard", NULL), 1);
	assert_int_equal(count("", NULL), 1); /* no lock, no temporary file is left */
}

static void other_bits_and_a_changed_source_are_other_shards(void **state)
{
	struct timespec times[2] = { { 1, 0 }, { 1, 500 } };
	struct heard h;
	bool in_memory;

	(void)state;
	sherd_shard_close(get(source, 0, false, &in_memory, &h));
	sherd_shard_close(get(source, 4, false, &in_memory, &h));
	assert_true(h.packed > 0);
	assert_int_equal(utimensat(AT_FDCWD, source, times, 0), 0);
	sherd_shard_close(get(source, 4, false, &in_memory, &h));
	assert_true(h.packed > 0);
	assert_int_equal(count(".shard", NULL), 3);
}

static void a_link_to_the_model_finds_the_same_shard(void **state)
{
	char *link = sherd_asprintf("%s/link.gguf", home);
	struct heard h;
	bool in_memory;

	(void)state;
	assert_int_equal(symlink(source, link), 0);
	sherd_shard_close(get(source, 0, false, &in_memory, &h));
	sherd_shard_close(get(link, 0, false, &in_memory, &h));
	assert_int_equal(h.packed, 0);
	free(link);
}

static void a_packed_file_is_opened_as_it_is(void **state)
{
	char *shard = NULL, *other = sherd_asprintf("%s/mine.shard", home);
	struct heard h;
	bool in_memory;

	(void)state;
	sherd_shard_close(get(source, 0, false, &in_memory, &h));
	assert_int_equal(count(".shard", &shard), 1);
	assert_int_equal(rename(shard, other), 0);
	sherd_shard_close(get(other, 8, false, &in_memory, &h));
	assert_int_equal(h.packed, 0);
	assert_int_equal(count("", NULL), 0);
	free(shard);
	free(other);
}

static void without_a_cache_the_shard_goes_into_memory_and_a_note_says_so(void **state)
{
	struct sherd_shard *s;
	struct heard h;
	bool in_memory;

	(void)state;
	s = get(source, 0, true, &in_memory, &h);
	assert_true(in_memory && h.packed > 0);
	assert_non_null(strstr(h.notes, "into memory"));
	assert_int_equal(count("", NULL), 0);
	sherd_shard_close(s);

	setenv("XDG_CACHE_HOME", source, 1); /* a file: nothing can be below it */
	s = get(source, 0, false, &in_memory, &h);
	assert_true(in_memory);
	assert_non_null(strstr(h.notes, "there is no cache"));
	assert_non_null(strstr(h.notes, "into memory"));
	sherd_shard_close(s);
}

static void a_folder_that_turns_unwritable_is_no_obstacle(void **state)
{
	struct sherd_shard *s;
	struct heard h;
	bool in_memory;

	(void)state;
	if (!geteuid()) {
		/* root may write anywhere: a file in the folder's place does it */
		assert_int_equal(rmdir(dir), 0);
		close(open(dir, O_CREAT | O_WRONLY, 0600));
	} else {
		chmod(dir, 0500);
	}
	s = get(source, 0, false, &in_memory, &h);
	assert_true(in_memory);
	assert_non_null(strstr(h.notes, "can't be used"));
	sherd_shard_close(s);
	if (geteuid())
		chmod(dir, 0700);
}

static void a_broken_cached_shard_is_packed_again_with_a_note(void **state)
{
	struct heard h;
	char *shard = NULL;
	bool in_memory;
	int i;

	(void)state;
	sherd_shard_close(get(source, 0, false, &in_memory, &h));
	assert_int_equal(count(".shard", &shard), 1);
	for (i = 0; i < 3; i++) {
		static const off_t sizes[] = { 0, 1000, 40000 };

		assert_int_equal(truncate(shard, sizes[i]), 0);
		sherd_shard_close(get(source, 0, false, &in_memory, &h));
		assert_true(h.packed > 0);
		assert_false(in_memory);
		assert_non_null(strstr(h.notes, "packing again"));
		sherd_shard_close(get(source, 0, false, &in_memory, &h));
		assert_int_equal(h.packed, 0);
	}
	free(shard);
}

static void what_killed_processes_left_goes_away(void **state)
{
	char key[SHERD_CACHE_KEY + 1] = "0123456789abcdef0123456789abcdef";
	char *stale = sherd_asprintf("%s/%s.shard.12345678.tmp", dir, key);
	char *busy = sherd_asprintf("%s/f%s.shard.12345678.tmp", dir, key + 1);
	char *mine = sherd_asprintf("%s/keep.txt", dir), *lock_key = strdup(key);
	struct heard h;
	bool in_memory;
	int lock;

	(void)state;
	lock_key[0] = 'f';
	close(open(stale, O_CREAT | O_WRONLY, 0600));
	close(open(busy, O_CREAT | O_WRONLY, 0600));
	close(open(mine, O_CREAT | O_WRONLY, 0600));
	lock = sherd_cache_lock(dir, lock_key, NULL, NULL, NULL);
	assert_true(lock >= 0);
	sherd_shard_close(get(source, 0, false, &in_memory, &h));
	assert_int_equal(access(stale, F_OK), -1);
	assert_int_equal(access(busy, F_OK), 0); /* its process is still at it */
	assert_int_equal(access(mine, F_OK), 0); /* not ours */
	sherd_cache_unlock(dir, lock_key, lock);
	assert_int_equal(count(".lock", NULL), 0);
	free(stale);
	free(busy);
	free(mine);
	free(lock_key);
}

static void processes_that_want_the_same_shard_pack_it_once(void **state)
{
	int i, status, packed = 0;

	(void)state;
	for (i = 0; i < 5; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			struct sherd_pack_params p = { .progress = on_progress };
			struct sherd_shard *s;
			struct heard h = { 0 };
			bool in_memory;

			p.ctx = &h;
			if (sherd_shard_get(&s, source, &p, false, &in_memory, NULL) || in_memory)
				_exit(100);
			_exit(h.packed > 0);
		}
	}
	for (i = 0; i < 5; i++) {
		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
		packed += WEXITSTATUS(status);
	}
	assert_int_equal(packed, 1);
	assert_int_equal(count("", NULL), 1);
}

/* A file of 8 MiB that looks like a shard, used @age hours ago. */
static char *fake(char first, int age)
{
	char *path = sherd_asprintf("%s/%c123456789abcdef0123456789abcdef.shard", dir, first);
	struct timespec times[2];
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	char *zeros = calloc(1, 8 * MIB);

	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= age * 3600;
	times[1] = times[0];
	assert_int_equal(sherd_write_all(fd, zeros, 8 * MIB, path, NULL), 0);
	assert_int_equal(fsync(fd), 0); /* its blocks are counted once they are allocated */
	assert_int_equal(futimens(fd, times), 0);
	free(zeros);
	close(fd);
	return path;
}

static void the_least_recently_used_goes_first_and_the_used_stays(void **state)
{
	char *old = fake('a', 30), *oldest = fake('b', 40), *new = fake('c', 1);
	char key[] = "00000000000000000000000000000000";
	uint64_t limit;
	int fd;

	(void)state;
	assert_true(sherd_cache_make_room(dir, key, 0, &limit));
	assert_true(limit > 64 * MIB);
	assert_int_equal(count(".shard", NULL), 3);
	assert_false(sherd_cache_make_room(dir, key, limit + 64 * MIB, &limit));
	assert_int_equal(count(".shard", NULL), 3); /* what can't fit removes nothing */

	assert_true(sherd_cache_make_room(dir, key, limit - 20 * MIB, &limit));
	assert_int_equal(access(oldest, F_OK), -1);
	assert_int_equal(access(old, F_OK), 0);

	fd = open(old, O_RDONLY);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	assert_true(sherd_cache_make_room(dir, key, limit - 12 * MIB, &limit));
	assert_int_equal(access(old, F_OK), 0);
	assert_int_equal(access(new, F_OK), -1);
	assert_false(sherd_cache_make_room(dir, key, limit - 4 * MIB, &limit));
	assert_int_equal(access(old, F_OK), 0);
	close(fd);
	assert_true(sherd_cache_make_room(dir, key, limit - 4 * MIB, &limit));
	assert_int_equal(count(".shard", NULL), 0);
	free(old);
	free(oldest);
	free(new);
}

static void clearing_spares_the_shard_in_use_and_listing_shows_it(void **state)
{
	char *other = fake('a', 5);
	struct sherd_cache_list list;
	struct sherd_shard *s;
	uint64_t freed;
	struct heard h;
	bool in_memory;

	(void)state;
	s = get(source, 0, false, &in_memory, &h);
	assert_int_equal(sherd_cache_list(&list, NULL), 0);
	assert_int_equal(list.n_entries, 2);
	assert_false(list.entries[0].in_use);
	assert_string_equal(list.entries[0].source, "");
	assert_true(list.entries[1].in_use);
	assert_string_equal(list.entries[1].source, "tiny");
	sherd_cache_list_clear(&list);

	assert_int_equal(sherd_cache_clear(&freed, NULL), 0);
	assert_true(freed >= 8 * MIB && freed < 9 * MIB);
	assert_int_equal(count(".shard", NULL), 1);
	sherd_shard_close(s);
	assert_int_equal(sherd_cache_clear(&freed, NULL), 0);
	assert_int_equal(count("", NULL), 0);
	free(other);
}

static void a_model_that_can_not_be_packed_leaves_nothing_behind(void **state)
{
	struct tiny_model t = tiny_models[1];
	struct sherd_pack_params p = { .note = on_note };
	struct sherd_error err = { "" };
	struct heard h = { 0 };
	struct sherd_shard *s;
	static const float nan = NAN;
	const struct gguf_edit nan_norm = { .tensor = "blk.1.ffn_norm.weight",
					    .poke = &nan,
					    .poke_size = sizeof(nan) };
	bool in_memory;
	char *good, *bad;

	(void)state;
	good = tiny_model_write(&t);
	bad = gguf_edit_write(good, &nan_norm);
	p.ctx = &h;
	assert_true(sherd_shard_get(&s, bad, &p, false, &in_memory, &err) < 0);
	assert_non_null(strstr(err.msg, "blk.1.ffn_norm.weight"));
	assert_string_equal(h.notes, "");
	assert_int_equal(count("", NULL), 0);
	assert_true(sherd_shard_get(&s, "/nowhere/x.gguf", &p, false, &in_memory, &err) < 0);
	assert_non_null(strstr(err.msg, "/nowhere/x.gguf"));
	unlink(good);
	unlink(bad);
	free(good);
	free(bad);
}

#define CACHE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CACHE_TEST(a_model_is_packed_once_and_then_found),
		CACHE_TEST(other_bits_and_a_changed_source_are_other_shards),
		CACHE_TEST(a_link_to_the_model_finds_the_same_shard),
		CACHE_TEST(a_packed_file_is_opened_as_it_is),
		CACHE_TEST(without_a_cache_the_shard_goes_into_memory_and_a_note_says_so),
		CACHE_TEST(a_folder_that_turns_unwritable_is_no_obstacle),
		CACHE_TEST(a_broken_cached_shard_is_packed_again_with_a_note),
		CACHE_TEST(what_killed_processes_left_goes_away),
		CACHE_TEST(processes_that_want_the_same_shard_pack_it_once),
		CACHE_TEST(the_least_recently_used_goes_first_and_the_used_stays),
		CACHE_TEST(clearing_spares_the_shard_in_use_and_listing_shows_it),
		CACHE_TEST(a_model_that_can_not_be_packed_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
