/* SPDX-License-Identifier: MIT */
/*
 * pack: writes a shard from a plan. A few threads take runs of row blocks, bring each row to the packed
 * layout, and write the planes where they belong; another takes the SHA-256 of the source
 * meanwhile. Memory is bounded by what one run of row blocks needs.
 *
 * The source is untrusted: what the plan has not checked is checked here, row by row (NaN, Inf).
 */
#include "model/pack.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ALIGNMENT   4096
#define RUN_BYTES   (1 << 20) /* values a worker writes at once */
#define HASH_BYTES  (4 << 20) /* hashed between looks at whether to stop */
#define MAX_WORKERS 4
#define HASH_KEY    "sherd.source.sha256"

/* Where an item's planes begin in the file. */
struct place {
	uint64_t values, scales, mins;
};

struct loss {
	double err2, ref2;
};

struct packer {
	struct sherd_pack_plan plan;
	const struct sherd_pack_params *params;
	int fd;
	const char *name;
	struct place *place; /* [n_items] */
	uint64_t size; /* of the file */
	char hash[SHERD_SHA256_HEX];

	pthread_mutex_t lock; /* what follows */
	size_t item; /* the next run of row blocks: of this item, */
	uint32_t block; /* from this one on */
	uint64_t done;
	struct loss *loss; /* [n_items] */
	int ret;
	struct sherd_error err;
	atomic_bool stop;
};

/* One worker's memory, sized for the largest run of the plan. */
struct scratch {
	uint8_t *values, *scales, *mins; /* one run's planes */
	uint8_t *q; /* [cols] */
	float *x, *scale, *min; /* [cols] and [cols / 16] */
};

struct run {
	size_t item;
	uint32_t first_row, n_rows; /* whole row blocks, but for the matrix's end */
};

static void stop_all(struct packer *p, int ret, const struct sherd_error *err)
{
	pthread_mutex_lock(&p->lock);
	if (!p->ret) {
		p->ret = ret;
		p->err = *err;
	}
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
}

static size_t row_bytes(const struct gguf_tensor *t)
{
	return t->dims[0] / ggml_block_size(t->type) * ggml_block_bytes(t->type);
}

/* ------------------------------------------------------------------- a row */

static bool all_finite(const float *x, size_t n)
{
	uint32_t bad = 0, u;
	size_t i;

	for (i = 0; i < n; i++) {
		memcpy(&u, &x[i], sizeof(u));
		bad |= (u & 0x7f800000) == 0x7f800000;
	}
	return !bad;
}

static const void *source_row(const struct sherd_pack_item *it, uint32_t row,
			      const struct gguf_tensor **t)
{
	int i = 0;

	while (row >= it->part_rows[i])
		row -= it->part_rows[i++];
	*t = it->part[i];
	return (const uint8_t *)(*t)->data + row * row_bytes(*t);
}

/* Brings source row @row to row @at of the planes in @s. */
static int pack_row(const struct packer *p, const struct sherd_pack_item *it, uint32_t row,
		    uint32_t at, const struct scratch *s, struct sherd_error *err)
{
	const struct sherd_format *f = &it->fmt;
	const struct gguf_tensor *t;
	const void *src = source_row(it, row, &t);
	size_t groups = f->group ? DIV_ROUND_UP((size_t)f->cols, f->group) : 0;
	bool ok;

	if (!sherd_elem_is_int(f->elem)) {
		sherd_dequant_row(t->type, src, f->cols, s->x);
		ok = all_finite(s->x, f->cols);
		sherd_pack_float_row(f, at, s->x, s->values);
	} else {
		if (sherd_type_is_float(t->type)) {
			sherd_dequant_row(t->type, src, f->cols, s->x);
			ok = !sherd_quantize_row(sherd_elem_bits(f->elem), s->x, f->cols, s->q,
						 s->scale);
		} else {
			sherd_quant_unpack_row(t->type, src, f->cols, s->q, s->scale, s->min);
			ok = f->min == SHERD_ELEM_NONE || all_finite(s->min, groups);
		}
		ok = ok && all_finite(s->scale, groups);
		sherd_pack_int_row(f, at, s->q, s->scale, s->min, s->values, s->scales, s->mins);
	}
	if (!ok)
		return sherd_fail(err, -EINVAL,
				  "%s: tensor %.*s has a NaN or infinite %s in row %u of %s",
				  p->plan.g->path, (int)MIN(t->name.len, 64u), t->name.data,
				  sherd_type_is_float(t->type) ? "weight" : "scale", row, it->name);
	return 0;
}

/* ---------------------------------------------------------- a run of row blocks */

/*
 * What reading the packed rows back gives, against the source: not trust in the transcoding, but a
 * sample through the reader that the reference uses. Requantized matrices: a row of every
 * block, a different one each time; exact ones: of every fourth.
 */
static void measure(const struct packer *p, const struct run *r, const struct scratch *s,
		    struct loss *loss)
{
	const struct sherd_pack_item *it = &p->plan.items[r->item];
	struct sherd_tensor t = { .fmt = it->fmt,
				  .values = s->values,
				  .scales = s->scales,
				  .mins = s->mins };
	const struct gguf_tensor *src;
	uint32_t row, c, step, at;

	source_row(it, r->first_row, &src);
	step = sherd_type_is_float(src->type) && sherd_elem_is_int(it->fmt.elem) ? 1 : 4;
	for (row = ROUND_UP(r->first_row / SHERD_TILE_ROWS, step) * SHERD_TILE_ROWS;
	     row < r->first_row + r->n_rows; row += step * SHERD_TILE_ROWS) {
		at = row + row / SHERD_TILE_ROWS / step % SHERD_TILE_ROWS;
		at = MIN(at, r->first_row + r->n_rows - 1);
		sherd_dequant_row(src->type, source_row(it, at, &src), it->fmt.cols, s->x);
		for (c = 0; c < it->fmt.cols; c++) {
			double d = sherd_tensor_get(&t, at - r->first_row, c) - (double)s->x[c];

			loss->err2 += d * d;
			loss->ref2 += (double)s->x[c] * s->x[c];
		}
	}
}

static int write_at(const struct packer *p, const void *data, size_t size, uint64_t offset,
		    struct sherd_error *err)
{
	const uint8_t *d = data;

	while (size) {
		ssize_t n = pwrite(p->fd, d, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int code = n ? -errno : -EIO;

			return sherd_fail(err, code, "%s: can't write at byte %llu of %llu: %s",
					  p->name, (unsigned long long)offset,
					  (unsigned long long)p->size, strerror(-code));
		}
		d += n;
		size -= n;
		offset += n;
	}
	return 0;
}

/* The planes' sizes of @n rows of @f, and where row @first's begin. */
static struct sherd_format rows_format(const struct sherd_format *f, uint32_t n)
{
	struct sherd_format part = *f;

	part.rows = n;
	return part;
}

static int pack_run(struct packer *p, const struct run *r, const struct scratch *s,
		    struct sherd_error *err)
{
	const struct sherd_pack_item *it = &p->plan.items[r->item];
	struct sherd_format part = rows_format(&it->fmt, r->n_rows);
	struct sherd_format before = rows_format(&it->fmt, r->first_row);
	const struct place *at = &p->place[r->item];
	size_t nv, ns, nm, ov, os, om;
	struct loss loss = { 0 };
	uint32_t i;
	int ret = 0;

	sherd_format_sizes(&part, &nv, &ns, &nm);
	sherd_format_sizes(&before, &ov, &os, &om);
	if (r->n_rows % SHERD_TILE_ROWS || it->fmt.cols % SHERD_TILE_COLS) {
		memset(s->values, 0, nv);
		memset(s->scales, 0, ns);
		memset(s->mins, 0, nm);
	}
	for (i = 0; i < r->n_rows && !ret; i++)
		ret = pack_row(p, it, r->first_row + i, i, s, err);
	if (!ret)
		ret = write_at(p, s->values, nv, at->values + ov, err);
	if (!ret)
		ret = write_at(p, s->scales, ns, at->scales + os, err);
	if (!ret)
		ret = write_at(p, s->mins, nm, at->mins + om, err);
	if (ret)
		return ret;
	measure(p, r, s, &loss);
	pthread_mutex_lock(&p->lock);
	p->loss[r->item].err2 += loss.err2;
	p->loss[r->item].ref2 += loss.ref2;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* Norms and biases: small, so the whole vector at once. */
static int pack_vector(struct packer *p, size_t item, struct sherd_error *err)
{
	const struct sherd_pack_item *it = &p->plan.items[item];
	float *x = sherd_calloc(it->fmt.cols, sizeof(*x));
	size_t at = 0;
	int i, ret;

	if (!x)
		return sherd_fail_oom(err, it->fmt.cols * sizeof(*x), it->name);
	for (i = 0; i < it->n_parts; at += it->part_rows[i++])
		if (it->part[i])
			sherd_dequant_row(it->part[i]->type, it->part[i]->data, it->part_rows[i],
					  x + at);
	if (all_finite(x, it->fmt.cols))
		ret = write_at(p, x, it->fmt.cols * sizeof(*x), p->place[item].values, err);
	else
		ret = sherd_fail(err, -EINVAL, "%s: tensor %s has a NaN or infinite element",
				 p->plan.g->path, it->name);
	free(x);
	return ret;
}

/* --------------------------------------------------------------------- threads */

static uint32_t run_rows(const struct sherd_format *f)
{
	struct sherd_format block = rows_format(f, SHERD_TILE_ROWS);
	size_t nv, ns, nm;

	sherd_format_sizes(&block, &nv, &ns, &nm);
	return MAX(RUN_BYTES / nv, 1) * SHERD_TILE_ROWS;
}

/* False when nothing is left, or somebody has failed. */
static bool next_run(struct packer *p, struct run *r)
{
	const struct sherd_pack_item *it;
	bool got = false;

	pthread_mutex_lock(&p->lock);
	if (p->item < p->plan.n_items && !p->stop) {
		it = &p->plan.items[p->item];
		r->item = p->item;
		r->first_row = p->block * SHERD_TILE_ROWS;
		r->n_rows = MIN(run_rows(&it->fmt), it->fmt.rows - r->first_row);
		p->block += DIV_ROUND_UP(r->n_rows, SHERD_TILE_ROWS);
		if (r->first_row + r->n_rows == it->fmt.rows) {
			p->item++;
			p->block = 0;
		}
		got = true;
	}
	pthread_mutex_unlock(&p->lock);
	return got;
}

static void count_done(struct packer *p, const struct run *r, bool report)
{
	const struct sherd_pack_item *it = &p->plan.items[r->item];
	uint64_t in = 0, done;
	uint32_t row;

	for (row = 0; row < r->n_rows && !it->vector; row++) {
		const struct gguf_tensor *t;

		source_row(it, r->first_row + row, &t);
		in += row_bytes(t);
	}
	pthread_mutex_lock(&p->lock);
	done = p->done += in;
	pthread_mutex_unlock(&p->lock);
	if (report && p->params->progress)
		p->params->progress(p->params->ctx, "packing", done, p->plan.bytes_in);
}

static void scratch_free(struct scratch *s)
{
	free(s->values);
	free(s->scales);
	free(s->mins);
	free(s->q);
	free(s->x);
	free(s->scale);
	free(s->min);
}

static int scratch_new(struct scratch *s, const struct sherd_pack_plan *plan,
		       struct sherd_error *err)
{
	size_t nv = 1, ns = 1, nm = 1, cols = 1, i;

	for (i = 0; i < plan->n_items; i++) {
		const struct sherd_format *f = &plan->items[i].fmt;
		struct sherd_format run = rows_format(f, MIN(run_rows(f), f->rows));
		size_t v, sc, m;

		if (plan->items[i].vector)
			continue;
		sherd_format_sizes(&run, &v, &sc, &m);
		nv = MAX(nv, v);
		ns = MAX(ns, sc);
		nm = MAX(nm, m);
		cols = MAX(cols, ROUND_UP((size_t)f->cols, SHERD_TILE_COLS));
	}
	s->values = sherd_alloc_aligned(64, nv, 1);
	s->scales = sherd_alloc_aligned(64, ns, 1);
	s->mins = sherd_alloc_aligned(64, nm, 1);
	s->q = sherd_alloc_aligned(64, cols, 1);
	s->x = sherd_alloc_aligned(64, cols, sizeof(float));
	s->scale = sherd_alloc_aligned(64, cols / 16 + 1, sizeof(float));
	s->min = sherd_alloc_aligned(64, cols / 16 + 1, sizeof(float));
	if (s->values && s->scales && s->mins && s->q && s->x && s->scale && s->min)
		return 0;
	return sherd_fail_oom(err, nv + ns + nm + cols * 5, "packing");
}

/* The calling thread is a worker too, and the only one that calls back. */
static void work(struct packer *p, bool report)
{
	struct scratch s = { 0 };
	struct sherd_error err;
	struct run r;
	int ret = scratch_new(&s, &p->plan, &err);

	while (!ret && next_run(p, &r)) {
		if (p->plan.items[r.item].vector)
			ret = pack_vector(p, r.item, &err);
		else
			ret = pack_run(p, &r, &s, &err);
		count_done(p, &r, report);
	}
	if (ret)
		stop_all(p, ret, &err);
	scratch_free(&s);
}

static void *worker_main(void *arg)
{
	work(arg, false);
	return NULL;
}

static void hash_tensor(const struct packer *p, struct sherd_sha256 *sha,
			const struct gguf_tensor *t)
{
	uint64_t dims[GGUF_MAX_DIMS], at;
	uint32_t type = t->type;

	memcpy(dims, t->dims, sizeof(dims));
	sherd_sha256_add(sha, t->name.data, t->name.len);
	sherd_sha256_add(sha, &type, sizeof(type));
	sherd_sha256_add(sha, dims, sizeof(dims));
	for (at = 0; at < t->size && !p->stop; at += HASH_BYTES)
		sherd_sha256_add(sha, (const uint8_t *)t->data + at, MIN(HASH_BYTES, t->size - at));
}

/* Name, type, shape and bytes of every source tensor, in the order of the plan. */
static void *hash_main(void *arg)
{
	struct packer *p = arg;
	struct sherd_sha256 *sha = sherd_sha256_new();
	struct sherd_error err;
	size_t i;
	int k;

	if (!sha) {
		stop_all(p, sherd_fail_oom(&err, 0, "SHA-256"), &err);
		return NULL;
	}
	for (i = 0; i < p->plan.n_items && !p->stop; i++)
		for (k = 0; k < p->plan.items[i].n_parts; k++)
			if (p->plan.items[i].part[k])
				hash_tensor(p, sha, p->plan.items[i].part[k]);
	sherd_sha256_end(sha, p->hash);
	return NULL;
}

static int n_workers(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return MIN(MAX(CPU_COUNT(&set), 1), MAX_WORKERS);
}

/* A thread that can't be had is no failure: the caller does its work. */
static void run_threads(struct packer *p)
{
	pthread_t worker[MAX_WORKERS], hasher;
	int n = 0, want = n_workers() - 1;
	bool hashing;

	hashing = !pthread_create(&hasher, NULL, hash_main, p);
	while (n < want && !pthread_create(&worker[n], NULL, worker_main, p))
		n++;
	work(p, true);
	while (n--)
		pthread_join(worker[n], NULL);
	if (hashing)
		pthread_join(hasher, NULL);
	else
		hash_main(p);
}

/* ---------------------------------------------------------------- header and file */

static void put_prefixed(struct gguf_writer *w, const struct gguf *g, const char *prefix,
			 const char *but)
{
	size_t n = strlen(prefix), i;
	char key[256];

	for (i = 0; i < g->n_values; i++) {
		const struct gguf_value *v = &g->values[i];

		if (v->key.len < n || v->key.len >= sizeof(key) || memcmp(v->key.data, prefix, n))
			continue;
		memcpy(key, v->key.data, v->key.len);
		key[v->key.len] = '\0';
		if (strcmp(key, but))
			gguf_put_value(w, key, v);
	}
}

static void put_metadata(struct gguf_writer *w, const struct packer *p)
{
	const struct sherd_pack_plan *plan = &p->plan;
	uint32_t layers[2] = { plan->first_layer, plan->end_layer };
	char zeros[SHERD_SHA256_HEX], prefix[80], vocab[96], name[256] = "";
	struct gguf_str s = { 0 };

	memset(zeros, '0', sizeof(zeros) - 1);
	zeros[sizeof(zeros) - 1] = '\0';
	if (gguf_get_str(plan->g, "general.name", &s, NULL) == 1)
		snprintf(name, sizeof(name), "%.*s", (int)MIN(s.len, sizeof(name) - 1), s.data);
	gguf_put_str(w, "general.architecture", "sherd");
	gguf_put_str(w, HASH_KEY, zeros); /* filled in by patch_hash() */
	gguf_put_u32(w, "sherd.layout_version", SHERD_LAYOUT_VERSION);
	gguf_put_str(w, "sherd.source.architecture", plan->hp.arch->name);
	gguf_put_str(w, "sherd.source.name", name);
	gguf_put_u32_array(w, "sherd.layers", layers, 2);
	put_prefixed(w, plan->g, "general.name", "");
	/* the source's size is that of its tokenizer or embedding, which may not be in this shard */
	snprintf(prefix, sizeof(prefix), "%s.", plan->hp.arch->name);
	snprintf(vocab, sizeof(vocab), "%svocab_size", prefix);
	gguf_put_u32(w, vocab, plan->hp.n_vocab);
	put_prefixed(w, plan->g, prefix, vocab);
	if (plan->first_layer == 0)
		put_prefixed(w, plan->g, "tokenizer.", "");
}

static void put_plane(struct gguf_writer *w, const char *item, const char *plane, uint64_t size,
		      uint64_t *offset, uint64_t *at)
{
	char name[80];

	*at = *offset;
	if (!size)
		return;
	snprintf(name, sizeof(name), "%s.%s", item, plane);
	gguf_put_tensor(w, name, GGML_I8, 1, &size);
	*offset = ROUND_UP(*offset + size, ALIGNMENT);
}

/* Names an item's planes; their places count from the first tensor for now. */
static void put_item(struct gguf_writer *w, const struct sherd_pack_item *it, uint64_t *offset,
		     struct place *at)
{
	const struct sherd_format *f = &it->fmt;
	uint32_t record[] = { f->elem, f->group, f->scale, f->min, f->rows, f->cols };
	uint64_t n = f->cols;
	size_t nv, ns, nm;
	char key[96];

	if (it->vector) {
		at->values = *offset;
		gguf_put_tensor(w, it->name, GGML_F32, 1, &n);
		*offset = ROUND_UP(*offset + n * sizeof(float), ALIGNMENT);
		return;
	}
	snprintf(key, sizeof(key), "sherd.format.%s", it->name);
	gguf_put_u32_array(w, key, record, ARRAY_SIZE(record));
	sherd_format_sizes(f, &nv, &ns, &nm);
	put_plane(w, it->name, "values", nv, offset, &at->values);
	put_plane(w, it->name, "scales", ns, offset, &at->scales);
	put_plane(w, it->name, "mins", nm, offset, &at->mins);
}

static int write_header(struct packer *p, struct sherd_error *err)
{
	struct gguf_writer *w = gguf_writer_new(p->fd, p->name, ALIGNMENT);
	uint64_t offset = 0;
	off_t base = -1;
	size_t i;
	int ret;

	if (!w)
		return sherd_fail_oom(err, 0, "writing a shard");
	put_metadata(w, p);
	for (i = 0; i < p->plan.n_items; i++)
		put_item(w, &p->plan.items[i], &offset, &p->place[i]);
	ret = gguf_writer_header(w, err);
	gguf_writer_free(w);
	if (!ret)
		base = lseek(p->fd, 0, SEEK_CUR);
	if (!ret && base < 0)
		ret = sherd_fail(err, -errno, "%s: can't be written at any place: %s", p->name,
				 strerror(errno));
	if (ret)
		return ret;
	base = ROUND_UP(base, ALIGNMENT);
	for (i = 0; i < p->plan.n_items; i++) {
		p->place[i].values += base;
		p->place[i].scales += base;
		p->place[i].mins += base;
	}
	p->size = base + offset;
	return 0;
}

/* Asks for all the room at once, so that a full disk is known before the work. */
static int reserve(const struct packer *p, struct sherd_error *err)
{
	int code = 0;

	if (fallocate(p->fd, 0, 0, p->size))
		code = errno;
	if (code == EOPNOTSUPP || code == ENOSYS)
		code = ftruncate(p->fd, p->size) ? errno : 0;
	if (code)
		return sherd_fail(err, -code, "%s: no room for a shard of %llu MiB: %s", p->name,
				  (unsigned long long)(p->size >> 20), strerror(code));
	return 0;
}

/* The digest is known last and stands in the header: the first of our keys, 64 digits long. */
static int patch_hash(const struct packer *p, struct sherd_error *err)
{
	char head[4096];
	ssize_t n = pread(p->fd, head, sizeof(head), 0);
	char *key = n > 0 ? memmem(head, n, HASH_KEY, strlen(HASH_KEY)) : NULL;
	/* the key is followed by the value's kind (u32) and length (u64) */
	size_t at = key ? key - head + strlen(HASH_KEY) + 12 : 0;

	if (!key || at + SHERD_SHA256_HEX - 1 > (size_t)n || head[at] != '0')
		return sherd_fail(err, -EIO, "%s: can't find " HASH_KEY " in its header", p->name);
	return write_at(p, p->hash, SHERD_SHA256_HEX - 1, at, err);
}

/* ------------------------------------------------------------------------- report */

static void item_types(const struct sherd_pack_item *it, char *buf, size_t size)
{
	int i, n = 0;

	buf[0] = '\0';
	for (i = 0; i < it->n_parts && n >= 0 && (size_t)n < size; i++)
		if (i == 0 || it->part[i]->type != it->part[i - 1]->type)
			n += snprintf(buf + n, size - n, "%s%s", i ? "+" : "",
				      ggml_type_name(it->part[i]->type));
}

static int make_report(const struct packer *p, struct sherd_pack_report *report,
		       struct sherd_error *err)
{
	size_t i;

	memset(report, 0, sizeof(*report));
	report->bytes_in = p->plan.bytes_in;
	report->bytes_out = p->size;
	report->loss = sherd_calloc(p->plan.n_items, sizeof(*report->loss));
	if (!report->loss)
		return sherd_fail_oom(err, p->plan.n_items * sizeof(*report->loss), "a report");
	for (i = 0; i < p->plan.n_items; i++) {
		const struct sherd_pack_item *it = &p->plan.items[i];
		struct sherd_pack_loss *l = &report->loss[report->n_loss];

		if (it->vector)
			continue;
		snprintf(l->tensor, sizeof(l->tensor), "%s", it->name);
		item_types(it, l->from, sizeof(l->from));
		sherd_format_name(&it->fmt, l->to, sizeof(l->to));
		if (p->loss[i].err2 > 0)
			l->rel_rms = sqrt(p->loss[i].err2 / p->loss[i].ref2);
		report->n_loss++;
	}
	return 0;
}

static int pack_all(struct packer *p, struct sherd_pack_report *report, struct sherd_error *err)
{
	int ret = write_header(p, err);

	if (!ret)
		ret = reserve(p, err);
	if (ret)
		return ret;
	run_threads(p);
	if (p->ret) {
		if (err)
			*err = p->err;
		return p->ret;
	}
	ret = patch_hash(p, err);
	if (!ret && report)
		ret = make_report(p, report, err);
	return ret;
}

int sherd_pack(const struct gguf *g, int fd, const char *name, const struct sherd_pack_params *params,
	       struct sherd_pack_report *report, struct sherd_error *err)
{
	struct packer p = { .params = params, .fd = fd, .name = name };
	int ret = sherd_pack_plan_make(&p.plan, g, params, err);

	if (ret)
		goto out_plan;
	p.place = sherd_calloc(p.plan.n_items, sizeof(*p.place));
	p.loss = sherd_calloc(p.plan.n_items, sizeof(*p.loss));
	if (!p.place || !p.loss) {
		ret = sherd_fail_oom(err, p.plan.n_items * sizeof(*p.place), "packing");
		goto out_arrays;
	}
	pthread_mutex_init(&p.lock, NULL);
	ret = pack_all(&p, report, err);
	pthread_mutex_destroy(&p.lock);
out_arrays:
	free(p.place);
	free(p.loss);
out_plan:
	sherd_pack_plan_clear(&p.plan);
	return ret;
}
