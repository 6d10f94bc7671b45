/* SPDX-License-Identifier: MIT */
/*
 * session_file: a session on disk, so that another process goes on where this one stopped, without
 * computing again what is known. Its KV cache is bytes that mean something only to the arithmetic
 * that made them: the file names model, bits, cache type, cuts and bit profile, and is refused by
 * any other.
 *
 *	header		struct head, little-endian as all supported machines are
 *	cuts		n_cut_words words of 64 layers
 *	tokens		int32 [n_tokens]
 *	note		n_note bytes, which are the caller's
 *	CRC32C		of all before it
 *	pages		[DIV_ROUND_UP(n_tokens, page)][page_bytes], as kv.h lays them out; what lies
 *			behind the last position is zero
 *	CRC32C		of the pages
 *
 * A file may be anybody's, and change at any moment: each byte is read once, and what is checked is what
 * is used.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/crc32c.h"
#include "infer/infer.h"

#define MAGIC	"sherdses"
#define VERSION 2u
#define NOTE_MAX ((size_t)64 << 20)
#define FRONT_MAX ((size_t)256 << 20) /* cuts, tokens and note: far more than a context has */

struct head {
	char magic[8];
	uint32_t version, n_tokens;
	uint32_t kv_type, page, first_layer, end_layer;
	uint32_t wire, n_cut_words, bits;
	uint32_t rope_crc; /* of the angles of the positions that are there */
	uint32_t n_note, zero;
	uint64_t page_bytes;
	char source_sha256[72], bit_profile[72]; /* padded with zeros */
};
_Static_assert(sizeof(struct head) == 208, "no padding in what is written");

static uint32_t cut_words(const struct sherd_session *s)
{
	return s->cuts ? (uint32_t)s->model->info.n_layers / 64 + 1 : 0;
}

/* Of the angles of positions [0, @n): some models' depend on how long the context may become. */
static uint32_t rope_crc(const struct sherd_model *m, int n)
{
	size_t size = sherd_rope_bytes(&m->shard->hp, n);
	uint32_t crc = 0;

	for (int i = 0; i < SHERD_MAX_ROPES; i++)
		if (m->program->rope[i])
			crc = sherd_crc32c(crc, m->program->rope[i], size);
	return crc;
}

static void fill_head(struct head *h, const struct sherd_session *s, uint32_t n)
{
	const struct sherd_model *m = s->model;

	memset(h, 0, sizeof(*h));
	memcpy(h->magic, MAGIC, sizeof(h->magic));
	h->version = VERSION;
	h->n_tokens = n;
	h->kv_type = m->kv.type;
	h->page = SHERD_PAGE;
	h->first_layer = (uint32_t)m->info.first_layer;
	h->end_layer = (uint32_t)m->info.end_layer;
	h->wire = s->cuts ? s->wire : 0; /* without cuts nothing goes over it */
	h->n_cut_words = cut_words(s);
	h->bits = (uint32_t)m->shard->bits;
	h->rope_crc = rope_crc(m, (int)n);
	h->page_bytes = sherd_kv_shape_page_bytes(&m->kv);
	strncpy(h->source_sha256, m->info.source_sha256, sizeof(h->source_sha256) - 1);
	strncpy(h->bit_profile, m->info.bit_profile, sizeof(h->bit_profile) - 1);
}

/* ---------------------------------------------------------------- saving */

struct writer {
	struct sherd_outfile o;
	uint32_t crc;
	struct sherd_error *err;
};

static int put(struct writer *w, const void *data, size_t size)
{
	w->crc = sherd_crc32c(w->crc, data, size);
	return sherd_write_all(w->o.fd, data, size, w->o.path, w->err);
}

/* The checksum of what was put since the last one. */
static int put_crc(struct writer *w)
{
	uint32_t crc = w->crc;
	int rc = put(w, &crc, sizeof(crc));

	w->crc = 0;
	return rc;
}

static int put_pages(struct writer *w, const struct sherd_session *s, int n)
{
	const struct sherd_model *m = s->model;
	size_t size = sherd_kv_shape_page_bytes(&m->kv);
	uint8_t *page = sherd_alloc_aligned(64, 1, size);
	int i, rc = 0;

	if (!page)
		return sherd_fail_oom(w->err, size, "a page of the KV cache");
	for (i = 0; i * SHERD_PAGE < n && !rc; i++) {
		rc = m->exec->ops->read_page(m->exec, s->table.pages[i], page, w->err);
		if (rc)
			break;
		sherd_kv_page_clear(&m->kv, page, n - i * SHERD_PAGE);
		rc = put(w, page, size);
	}
	free(page);
	return rc;
}

static int check_saving(const struct sherd_session *s, int n, const char *path,
			struct sherd_error *err)
{
	if (n != sherd_session_reach(s))
		return sherd_fail(err, -EINVAL,
				  "%s: layers that are at different positions cannot be saved",
				  path);
	if (n && !strcmp(s->model->info.bit_profile, SHERD_UNTESTED))
		return sherd_fail(err, -EINVAL,
				  "%s: a session of a device that was not tested cannot be saved: "
				  "nobody could know its bits",
				  path);
	for (int i = 0; i < n; i++)
		if (s->tokens[i] < 0)
			return sherd_fail(err, -EINVAL,
					  "%s: a session that was given hidden rows and not "
					  "tokens cannot be saved",
					  path);
	return 0;
}

static int put_front(struct writer *w, const struct sherd_session *s, int n, const char *note)
{
	size_t n_note = note ? strlen(note) : 0;
	struct head h;
	int rc;

	if (n_note > NOTE_MAX)
		return sherd_fail(w->err, -E2BIG, "%s: a note of %zu bytes is too long (%zu)",
				  w->o.path, n_note, NOTE_MAX);
	fill_head(&h, s, (uint32_t)n);
	h.n_note = (uint32_t)n_note;
	rc = put(w, &h, sizeof(h));
	if (!rc && h.n_cut_words)
		rc = put(w, s->cuts, h.n_cut_words * sizeof(*s->cuts));
	if (!rc && n)
		rc = put(w, s->tokens, (size_t)n * sizeof(*s->tokens));
	if (!rc && n_note)
		rc = put(w, note, n_note);
	return rc ? rc : put_crc(w);
}

int sherd_session_save(const struct sherd_session *s, const char *path, const char *note,
		       struct sherd_error *err)
{
	int n = sherd_session_pos(s), rc = check_saving(s, n, path, err);
	struct writer w = { .err = err };

	if (rc)
		return rc;
	rc = sherd_outfile_open(&w.o, path, err);
	if (rc)
		return rc;
	fchmod(w.o.fd, 0600); /* what somebody said is in it */
	rc = put_front(&w, s, n, note);
	if (!rc)
		rc = put_pages(&w, s, n);
	if (!rc)
		rc = put_crc(&w);
	if (!rc)
		return sherd_outfile_commit(&w.o, err);
	sherd_outfile_abort(&w.o);
	return rc;
}

/* --------------------------------------------------------------- loading */

struct reader {
	int fd;
	uint64_t size; /* of the file, when it was opened */
	uint32_t crc;
	const char *path;
	struct sherd_error *err;
	struct head head;
	uint8_t *front; /* cuts, tokens and note */
};

static int damaged(const struct reader *r, const char *why)
{
	return sherd_fail(r->err, -EINVAL, "%s: is damaged: %s; delete it", r->path, why);
}

static int refuse(const struct reader *r, const char *what)
{
	return sherd_fail(r->err, -ESTALE,
			  "%s: is a session of %s: name another file, or delete this one", r->path,
			  what);
}

/* The next bytes of the file. */
static int take(struct reader *r, void *data, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = read(r->fd, (char *)data + done, MIN(size - done, (size_t)1 << 30));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sherd_fail(r->err, -errno, "%s: cannot read it: %s", r->path,
					  strerror(errno));
		if (!n)
			return damaged(r, "it has become shorter");
		done += (size_t)n;
	}
	r->crc = sherd_crc32c(r->crc, data, size);
	return 0;
}

/* Is what was taken since the last checksum what was put? */
static int take_crc(struct reader *r)
{
	uint32_t want = r->crc, crc;
	int rc = take(r, &crc, sizeof(crc));

	r->crc = 0;
	if (rc || crc == want)
		return rc;
	return damaged(r, "its checksum is another one");
}

static uint64_t cut_bytes(const struct head *h)
{
	return (uint64_t)h->n_cut_words * sizeof(uint64_t);
}

static uint64_t token_bytes(const struct head *h)
{
	return (uint64_t)h->n_tokens * sizeof(int32_t);
}

static uint64_t front_bytes(const struct head *h)
{
	return cut_bytes(h) + token_bytes(h) + h->n_note;
}

/* Is it a session's file at all, of this release's form, and as long as it says? */
static int take_head(struct reader *r)
{
	const struct head *h = &r->head;
	uint64_t want = sizeof(*h) + 2 * sizeof(r->crc);
	int rc = r->size < want ? 0 : take(r, &r->head, sizeof(r->head));

	if (rc)
		return rc;
	if (r->size < want || memcmp(h->magic, MAGIC, sizeof(h->magic)))
		return sherd_fail(r->err, -EINVAL, "%s: is no saved session", r->path);
	if (h->version != VERSION)
		return sherd_fail(r->err, -ESTALE,
				  "%s: was saved in version %u of the form, and this release "
				  "reads version %u: delete it",
				  r->path, h->version, VERSION);
	if (h->page != SHERD_PAGE)
		return refuse(r, "another release");
	/* within these limits no sum and no product overflows */
	if (front_bytes(h) > FRONT_MAX || h->n_note > NOTE_MAX || h->page_bytes > UINT32_MAX)
		return damaged(r, "nothing that it could hold is so large");
	want += front_bytes(h) + DIV_ROUND_UP((uint64_t)h->n_tokens, SHERD_PAGE) * h->page_bytes;
	if (want != r->size)
		return damaged(r, "its length is not what its contents need");
	return 0;
}

/* What stands before the pages; *note: a copy of the caller's part of it, or NULL. */
static int take_front(struct reader *r, char **note)
{
	const struct head *h = &r->head;
	size_t size = (size_t)front_bytes(h);
	int rc;

	r->front = malloc(size + 1);
	if (!r->front)
		return sherd_fail_oom(r->err, size, "a session's file");
	rc = take(r, r->front, size);
	rc = rc ? rc : take_crc(r);
	if (rc || !h->n_note || !note)
		return rc;
	r->front[size] = '\0';
	*note = strdup((char *)r->front + size - h->n_note);
	return *note ? 0 : sherd_fail_oom(r->err, h->n_note, "a session's note");
}

/* Would this session have come to the same bytes? */
static int check_same(const struct reader *r, const struct sherd_session *s)
{
	const struct head *h = &r->head;
	struct head mine;

	if (h->n_tokens > (uint32_t)s->model->info.n_ctx)
		return sherd_fail(r->err, -ENOSPC,
				  "%s: has %u tokens and the context holds %d: give more with -c",
				  r->path, h->n_tokens, s->model->info.n_ctx);
	fill_head(&mine, s, h->n_tokens);
	if (memcmp(h->source_sha256, mine.source_sha256, sizeof(mine.source_sha256)) ||
	    h->bits != mine.bits)
		return refuse(r, "another model, or of other bits");
	if (h->first_layer != mine.first_layer || h->end_layer != mine.end_layer)
		return refuse(r, "other layers");
	if (h->kv_type != mine.kv_type || h->page_bytes != mine.page_bytes)
		return refuse(r, "another type of KV cache (--kv)");
	if (h->wire != mine.wire || h->n_cut_words != mine.n_cut_words ||
	    (h->n_cut_words && memcmp(r->front, s->cuts, (size_t)cut_bytes(h))))
		return refuse(r, "other cuts");
	if (h->rope_crc != mine.rope_crc)
		return refuse(r, "other rotary angles");
	if (memcmp(h->bit_profile, mine.bit_profile, sizeof(mine.bit_profile)) ||
	    !strcmp(mine.bit_profile, SHERD_UNTESTED))
		return refuse(r, "other arithmetic (another release or device)");
	return 0;
}

static int check_tokens(const struct reader *r, const int32_t *tokens, int n_vocab)
{
	for (uint32_t i = 0; i < r->head.n_tokens; i++)
		if (tokens[i] < 0 || tokens[i] >= n_vocab)
			return sherd_fail(r->err, -EINVAL,
					  "%s: token %d is outside the vocabulary of %d: it is "
					  "damaged, delete it",
					  r->path, tokens[i], n_vocab);
	return 0;
}

static int take_pages(struct reader *r, struct sherd_session *s)
{
	const struct sherd_model *m = s->model;
	size_t size = sherd_kv_shape_page_bytes(&m->kv);
	uint8_t *page = sherd_alloc_aligned(64, 1, size);
	int i, rc = sherd_kv_table_grow(&s->table, &s->model->pool, (int)r->head.n_tokens);

	if (rc)
		sherd_fail(r->err, rc, "%s: the KV cache has no room for its %u positions", r->path,
			   r->head.n_tokens);
	else if (!page)
		rc = sherd_fail_oom(r->err, size, "a page of the KV cache");
	for (i = 0; i < s->table.n && !rc; i++) {
		rc = take(r, page, size);
		if (!rc)
			rc = m->exec->ops->write_page(m->exec, s->table.pages[i], page, r->err);
	}
	rc = rc ? rc : take_crc(r);
	if (rc)
		sherd_kv_table_shrink(&s->table, &s->model->pool, 0);
	free(page);
	return rc;
}

/* The front is there: from here on it is about this session. */
static int fill(struct reader *r, struct sherd_session *s)
{
	const int32_t *tokens = (const int32_t *)(r->front + cut_bytes(&r->head));
	int n = (int)r->head.n_tokens, rc;

	if (!n) /* nothing was computed, by whomever */
		return 0;
	rc = check_same(r, s);
	rc = rc ? rc : check_tokens(r, tokens, s->model->info.n_vocab);
	rc = rc ? rc : take_pages(r, s);
	if (rc)
		return rc;
	memcpy(s->tokens, tokens, (size_t)token_bytes(&r->head));
	s->n_tokens = n;
	for (int l = 0; l < s->model->info.end_layer - s->model->info.first_layer; l++)
		s->layer_pos[l] = n;
	return 0;
}

int sherd_session_load(struct sherd_session *s, const char *path, char **note,
		       struct sherd_error *err)
{
	struct reader r = { .path = path, .err = err };
	int rc;

	if (note)
		*note = NULL;
	if (sherd_session_reach(s))
		return sherd_fail(err, -EINVAL, "%s: only a session at its beginning can be loaded",
				  path);
	r.fd = sherd_file_open(path, &r.size, err);
	if (r.fd < 0)
		return r.fd;
	rc = take_head(&r);
	rc = rc ? rc : take_front(&r, note);
	rc = rc ? rc : fill(&r, s);
	free(r.front);
	close(r.fd);
	return rc;
}
