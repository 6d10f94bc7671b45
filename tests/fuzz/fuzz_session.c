/* SPDX-License-Identifier: MIT */
/*
 * fuzz_session: any bytes as a saved session, loaded into one of a tiny model. What is refused has left
 * a sentence and taken nothing; what is taken can be gone on with.
 *
 * A file has two checksums, and names the model and its arithmetic, which no fuzzer guesses. So the first
 * byte of an input says what the others are:
 *
 *	bit 0	0: they are the file
 *		1: they change one that was saved: two bytes say how many are cut off its end, and
 *		then each three put a byte (the last) at a place (the first two)
 *	bit 1	the checksum of the front is put right
 *	bit 2	so is that of the pages
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/crc32c.h"
#include "infer/infer.h"
#include "unit/tiny_model.h"

#define CHECK(x)  ((x) ? (void)0 : abort())
#define N_TOKENS  70 /* two pages, one not full */
#define NOTE	  "what the caller wants to keep"
#define HEAD_SIZE 208

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sherd_model *model;
static struct sherd_session *session;
static uint8_t *saved; /* [n_saved] */
static size_t n_saved;
static char path[32]; /* of a file in memory */
static int fd;

static void open_model(void)
{
	const struct sherd_model_params p = { .device = "reference", .n_ctx = 128,
					      .kv_type = SHERD_KV_INT8 };
	struct sherd_error err;

	CHECK(!tiny_model_open(&model, &tiny_plain, &p, &err));
	CHECK(!sherd_session_new(&session, model, NULL, &err));
}

static void save_one(void)
{
	struct sherd_error err;
	const float *logits;
	int32_t tokens[N_TOKENS];
	char file[] = "/tmp/sherd-fuzz-XXXXXX", *data;
	int tmp = mkstemp(file);

	for (int i = 0; i < N_TOKENS; i++)
		tokens[i] = i * 7 % 40;
	CHECK(!sherd_prefill(session, tokens, N_TOKENS, &logits, &err));
	close(tmp);
	CHECK(tmp >= 0 && !sherd_session_save(session, file, NOTE, &err));
	CHECK(!sherd_read_file(file, 1 << 20, &data, &n_saved, &err));
	saved = (uint8_t *)data;
	unlink(file);
}

static void begin(void)
{
	open_model();
	save_one();
	fd = memfd_create("session", MFD_CLOEXEC);
	CHECK(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
}

static size_t word(const uint8_t *file, size_t at)
{
	uint32_t x;

	memcpy(&x, file + at, sizeof(x));
	return x;
}

static void put_crc(uint8_t *file, size_t from, size_t to)
{
	uint32_t crc = sherd_crc32c(0, file + from, to - from);

	memcpy(file + to, &crc, sizeof(crc));
}

/* The checksums that the header asks for, as far as they lie in the file. */
static void put_right(uint8_t *file, size_t n, bool front, bool pages)
{
	size_t end;

	if (n < HEAD_SIZE)
		return;
	/* tokens, words of cuts, bytes of a note */
	end = HEAD_SIZE + 4 * word(file, 12) + 8 * word(file, 36) + word(file, 48);
	if (end + 8 > n)
		return;
	if (front)
		put_crc(file, 0, end);
	if (pages)
		put_crc(file, end + 4, n - 4);
}

/* The file that an input stands for; malloc'd. */
static uint8_t *make_file(const uint8_t *data, size_t size, size_t *n)
{
	uint8_t flags = data[0], *file;
	size_t cut;

	data++;
	size--;
	if (!(flags & 1)) {
		file = malloc(size + 1);
		CHECK(file);
		memcpy(file, data, size);
		*n = size;
	} else {
		file = malloc(n_saved);
		CHECK(file);
		memcpy(file, saved, n_saved);
		cut = size < 2 ? 0 : data[0] + 256u * data[1];
		*n = n_saved - MIN(cut, n_saved);
		for (size_t i = 2; i + 3 <= size; i += 3)
			if (data[i] + 256u * data[i + 1] < *n)
				file[data[i] + 256u * data[i + 1]] = data[i + 2];
	}
	put_right(file, *n, flags & 2, flags & 4);
	return file;
}

/* Numbers that somebody made up may be too large to compute with, which is an answer. */
static void go_on(void)
{
	struct sherd_error err = { "" };
	const float *logits;
	const int32_t *tokens;
	int32_t next = 3;
	int n, rc;

	tokens = sherd_session_tokens(session, &n);
	CHECK(n == sherd_session_pos(session) && n <= 128);
	for (int i = 0; i < n; i++)
		CHECK(tokens[i] >= 0 && tokens[i] < 40);
	rc = sherd_prefill(session, &next, 1, &logits, &err);
	CHECK(!rc || (rc == -EDOM && err.msg[0]) || (rc == -ENOSPC && n == 128));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sherd_error err = { "" };
	uint8_t *file;
	char *note;
	size_t n;
	int rc;

	if (!model)
		begin();
	if (!size)
		return 0;
	file = make_file(data, size, &n);
	CHECK(!ftruncate(fd, 0) && pwrite(fd, file, n, 0) == (ssize_t)n);
	free(file);
	CHECK(!sherd_session_truncate(session, 0, &err));
	rc = sherd_session_load(session, path, &note, &err);
	if (rc)
		CHECK(err.msg[0] && !sherd_session_reach(session) &&
		      model->pool.n_free == model->pool.n_pages);
	else
		go_on();
	free(note);
	return 0;
}
