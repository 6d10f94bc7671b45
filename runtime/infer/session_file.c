/* SPDX-License-Identifier: MIT */
/*
 * session_file: a session on disk, so that another process goes on where this one stopped, without
 * computing again what is known. Its KV cache is bytes that mean something only to the arithmetic
 * that made them: the file names model, bits, cache type, cuts and bit profile, and is refused by
 * any other.
 *
 *	header		struct head, little-endian as all supported machines are
 *	cuts		n_cut_words words of 64 layers
 *	tokens		int32 [n]
 *	pages		[DIV_ROUND_UP(n, page)][page_bytes], as kv.h lays them out; what lies behind
 *			the last position is zero
 *	CRC32C		of all before it
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/crc32c.h"
#include "infer/infer.h"

#define MAGIC	"sherdses"
#define VERSION 1u

struct head {
	char magic[8];
	uint32_t version, n_tokens;
	uint32_t kv_type, page, first_layer, end_layer;
	uint32_t wire, n_cut_words, bits;
	uint32_t rope_crc; /* of the angles of the positions that are there */
	uint64_t page_bytes;
	char source_sha256[72], bit_profile[72]; /* padded with zeros */
};
_Static_assert(sizeof(struct head) == 200, "no padding in what is written");

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
	if (!strcmp(s->model->info.bit_profile, SHERD_UNTESTED))
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

int sherd_session_save(const struct sherd_session *s, const char *path, struct sherd_error *err)
{
	int n = sherd_session_pos(s), rc = check_saving(s, n, path, err);
	struct writer w = { .err = err };
	struct head h;
	uint32_t crc;

	if (rc)
		return rc;
	rc = sherd_outfile_open(&w.o, path, err);
	if (rc)
		return rc;
	fchmod(w.o.fd, 0600); /* what somebody said is in it */
	fill_head(&h, s, (uint32_t)n);
	rc = put(&w, &h, sizeof(h));
	if (!rc && h.n_cut_words)
		rc = put(&w, s->cuts, h.n_cut_words * sizeof(*s->cuts));
	if (!rc && n)
		rc = put(&w, s->tokens, (size_t)n * sizeof(*s->tokens));
	if (!rc)
		rc = put_pages(&w, s, n);
	crc = w.crc;
	if (!rc)
		rc = put(&w, &crc, sizeof(crc));
	if (!rc)
		return sherd_outfile_commit(&w.o, err);
	sherd_outfile_abort(&w.o);
	return rc;
}

/* --------------------------------------------------------------- loading */

struct reader {
	struct sherd_map map;
	const uint8_t *at;
	const char *path;
	struct sherd_error *err;
};

/* The next @size bytes; open_file() has made sure of them. */
static const void *take(struct reader *r, size_t size)
{
	const uint8_t *p = r->at;

	r->at += size;
	return p;
}

static int refuse(const struct reader *r, const char *what)
{
	return sherd_fail(r->err, -ESTALE,
			  "%s: is a session of %s: name another file, or delete this one", r->path,
			  what);
}

/* Is it a session's file at all, whole, and of this release's form? */
static int check_form(struct reader *r, const struct head *h)
{
	size_t size = r->map.size, want, pages, i;
	uint32_t crc;

	if (size < sizeof(*h) + sizeof(crc) || memcmp(r->map.data, MAGIC, sizeof(h->magic)))
		return sherd_fail(r->err, -EINVAL, "%s: is no saved session", r->path);
	if (h->version != VERSION || h->page != SHERD_PAGE)
		return sherd_fail(r->err, -ESTALE,
				  "%s: was saved in version %u of the form, and this release "
				  "reads version %u: delete it",
				  r->path, h->version, VERSION);
	pages = DIV_ROUND_UP((size_t)h->n_tokens, SHERD_PAGE);
	want = sizeof(*h) + sizeof(crc) + (size_t)h->n_cut_words * sizeof(uint64_t) +
	       (size_t)h->n_tokens * sizeof(int32_t);
	if (!sherd_mul_ok(pages, h->page_bytes, &i) || !sherd_add_ok(want, i, &want) ||
	    want != size)
		return sherd_fail(r->err, -EINVAL,
				  "%s: has %zu bytes and should have %zu: it is damaged, delete it",
				  r->path, size, want);
	memcpy(&crc, r->map.data + size - sizeof(crc), sizeof(crc));
	if (sherd_crc32c(0, r->map.data, size - sizeof(crc)) != crc)
		return sherd_fail(r->err, -EINVAL,
				  "%s: is damaged: its checksum is another one; "
				  "delete it",
				  r->path);
	return 0;
}

/* Would this session have come to the same bytes? */
static int check_same(struct reader *r, const struct head *h, const struct sherd_session *s)
{
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
	    (h->n_cut_words && memcmp(r->at, s->cuts, h->n_cut_words * sizeof(*s->cuts))))
		return refuse(r, "other cuts");
	if (h->rope_crc != mine.rope_crc)
		return refuse(r, "other rotary angles");
	if (memcmp(h->bit_profile, mine.bit_profile, sizeof(mine.bit_profile)) ||
	    !strcmp(mine.bit_profile, SHERD_UNTESTED))
		return refuse(r, "other arithmetic (another release or device)");
	return 0;
}

static int take_tokens(struct reader *r, struct sherd_session *s, int n)
{
	const int32_t *tokens = take(r, (size_t)n * sizeof(*tokens));

	for (int i = 0; i < n; i++)
		if (tokens[i] < 0 || tokens[i] >= s->model->info.n_vocab)
			return sherd_fail(r->err, -EINVAL,
					  "%s: token %d is outside the vocabulary of %d: it is "
					  "damaged, delete it",
					  r->path, tokens[i], s->model->info.n_vocab);
	if (n)
		memcpy(s->tokens, tokens, (size_t)n * sizeof(*tokens));
	return 0;
}

static int take_pages(struct reader *r, struct sherd_session *s, int n)
{
	const struct sherd_model *m = s->model;
	size_t size = sherd_kv_shape_page_bytes(&m->kv);
	int i, rc = sherd_kv_table_grow(&s->table, &s->model->pool, n);

	if (rc)
		return sherd_fail(r->err, rc, "%s: the KV cache has no room for its %d positions",
				  r->path, n);
	for (i = 0; i < s->table.n && !rc; i++)
		rc = m->exec->ops->write_page(m->exec, s->table.pages[i], take(r, size), r->err);
	if (rc)
		sherd_kv_table_shrink(&s->table, &s->model->pool, 0);
	return rc;
}

static int load(struct reader *r, struct sherd_session *s)
{
	struct head h = { .version = 0 };
	int n, l, rc;

	if (r->map.size >= sizeof(h))
		memcpy(&h, r->map.data, sizeof(h));
	rc = check_form(r, &h);
	r->at = r->map.data + sizeof(h);
	if (!rc)
		rc = check_same(r, &h, s);
	if (rc)
		return rc;
	n = (int)h.n_tokens;
	take(r, h.n_cut_words * sizeof(*s->cuts));
	rc = take_tokens(r, s, n);
	if (!rc)
		rc = take_pages(r, s, n);
	if (rc)
		return rc;
	s->n_tokens = n;
	for (l = 0; l < s->model->info.end_layer - s->model->info.first_layer; l++)
		s->layer_pos[l] = n;
	return 0;
}

int sherd_session_load(struct sherd_session *s, const char *path, struct sherd_error *err)
{
	struct reader r = { .path = path, .err = err };
	int rc;

	if (sherd_session_reach(s))
		return sherd_fail(err, -EINVAL, "%s: only a session at its beginning can be loaded",
				  path);
	rc = sherd_map_open(&r.map, path, err);
	if (rc)
		return rc;
	rc = load(&r, s);
	sherd_map_close(&r.map);
	return rc;
}
