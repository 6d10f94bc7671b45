/* SPDX-License-Identifier: MIT */
/*
 * pack_rows: the work of packing. A few threads take runs of row blocks, bring each row to the
 * packed layout, and write the planes where they belong; another takes the SHA-256 of the source
 * meanwhile. Memory is bounded by what one run of row blocks needs.
 *
 * The source is untrusted: what the plan has not checked is checked here, row by row (NaN, Inf).
 */
#include "model/pack.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define RUN_BYTES   (1 << 20) /* values a worker writes at once */
#define HASH_BYTES  (4 << 20) /* hashed between looks at whether to stop */
#define MAX_WORKERS 4

/* One worker's memory, sized for the largest run of the plan. */
struct scratch {
	uint8_t *values, *scales, *mins; /* one run's planes */
	uint8_t *q;			 /* [cols] */
	float *x, *scale, *min;		 /* [cols] and [cols / 16] */
	uint8_t *row;			 /* a source row that is put together */
};

struct run {
	size_t item;
	uint32_t first_row, n_rows; /* whole row blocks, but for the matrix's end */
};

static void stop_all(struct sherd_packer *p, int ret, const struct sherd_error *err)
{
	pthread_mutex_lock(&p->lock);
	if (!p->ret) {
		p->ret = ret;
		p->err = *err;
	}
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
}

/* ------------------------------------------------------------------- a row */

static bool all_finite(const float *x, size_t n)
{
	return sherd_all_finite(SHERD_ELEM_F32, x, n * sizeof(*x));
}

/* The tensor that has row @row, which becomes that tensor's; NULL: it is an expert's padding. */
static const struct gguf_tensor *source_of(const struct sherd_pack_item *it, uint32_t *row)
{
	uint32_t padded = ROUND_UP(it->expert_rows, SHERD_TILE_ROWS), expert = 0;
	int i = 0;

	if (it->n_experts) {
		expert = *row / padded;
		*row %= padded;
		if (*row >= it->expert_rows)
			return NULL;
	}
	while (*row >= it->part_rows[i])
		*row -= it->part_rows[i++];
	*row += expert * it->part_rows[i];
	return it->part[i];
}

/* NULL, and so is *t: padding. */
static const void *source_row(const struct sherd_pack_item *it, uint32_t row,
			      const struct scratch *s, const struct gguf_tensor **t)
{
	*t = source_of(it, &row);
	return *t ? gguf_row(*t, row, s->row) : NULL;
}

/* What will be stored is what is checked: a float may be too large for a half. */
static void round_to_halves(float *x, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		x[i] = sherd_f16_to_f32(sherd_f32_to_f16(x[i]));
}

/* Brings source row @row to row @at of the planes in @s. */
static int pack_row(const struct sherd_packer *p, const struct sherd_pack_item *it, uint32_t row,
		    uint32_t at, const struct scratch *s, struct sherd_error *err)
{
	const struct sherd_format *f = &it->fmt;
	const struct gguf_tensor *t;
	const void *src = source_row(it, row, s, &t);
	size_t groups = f->group ? DIV_ROUND_UP((size_t)f->cols, f->group) : 0;
	bool ok;

	if (!src)
		return 0; /* zeros are there */
	if (!sherd_elem_is_int(f->elem)) {
		ok = sherd_all_finite(f->elem, src, gguf_row_bytes(t));
		sherd_pack_same_row(f, at, src, s->values);
	} else {
		if (sherd_quant_rounds(t->type, f)) {
			sherd_dequant_row(t->type, src, f->cols, s->x);
			ok = !sherd_quantize_row(sherd_elem_bits(f->elem), s->x, f->cols, s->q,
						 s->scale);
		} else {
			sherd_quant_unpack_row(t->type, src, f->cols, s->q, s->scale, s->min);
			if (f->scale == SHERD_ELEM_F16)
				round_to_halves(s->scale, groups);
			if (f->min == SHERD_ELEM_F16)
				round_to_halves(s->min, groups);
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
 * sample through the reader that the reference uses. Matrices that lose: a row of every block, a
 * different one each time; exact ones: of every fourth.
 */
static void measure(const struct sherd_packer *p, const struct run *r, const struct scratch *s,
		    struct sherd_pack_error *loss)
{
	const struct sherd_pack_item *it = &p->plan.items[r->item];
	struct sherd_tensor t = {
		.fmt = it->fmt, .values = s->values, .scales = s->scales, .mins = s->mins
	};
	const struct gguf_tensor *src;
	struct sherd_format exact;
	uint32_t row, c, step, at;
	const void *data;

	at = r->first_row;
	src = source_of(it, &at);
	sherd_quant_format(src->type, 0, &exact);
	step = sherd_format_alike(&exact, &it->fmt) ? 4 : 1;
	for (row = ROUND_UP(r->first_row / SHERD_TILE_ROWS, step) * SHERD_TILE_ROWS;
	     row < r->first_row + r->n_rows; row += step * SHERD_TILE_ROWS) {
		at = row + row / SHERD_TILE_ROWS / step % SHERD_TILE_ROWS;
		at = MIN(at, r->first_row + r->n_rows - 1);
		data = source_row(it, at, s, &src);
		if (!data)
			continue;
		sherd_dequant_row(src->type, data, it->fmt.cols, s->x);
		for (c = 0; c < it->fmt.cols; c++) {
			double d = sherd_tensor_get(&t, at - r->first_row, c) - (double)s->x[c];

			loss->err2 += d * d;
			loss->ref2 += (double)s->x[c] * s->x[c];
		}
	}
}

int sherd_pack_write(const struct sherd_packer *p, const void *data, size_t size, uint64_t offset,
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

static int pack_run(struct sherd_packer *p, const struct run *r, const struct scratch *s,
		    struct sherd_error *err)
{
	const struct sherd_pack_item *it = &p->plan.items[r->item];
	struct sherd_format part = rows_format(&it->fmt, r->n_rows);
	struct sherd_format before = rows_format(&it->fmt, r->first_row);
	const struct sherd_pack_place *at = &p->place[r->item];
	size_t nv, ns, nm, ov, os, om;
	struct sherd_pack_error loss = { 0 };
	uint32_t i;
	int ret = 0;

	sherd_format_sizes(&part, &nv, &ns, &nm);
	sherd_format_sizes(&before, &ov, &os, &om);
	if (r->n_rows % SHERD_TILE_ROWS || it->fmt.cols % SHERD_TILE_COLS || it->n_experts) {
		memset(s->values, 0, nv);
		memset(s->scales, 0, ns);
		memset(s->mins, 0, nm);
	}
	for (i = 0; i < r->n_rows && !ret; i++)
		ret = pack_row(p, it, r->first_row + i, i, s, err);
	if (!ret)
		ret = sherd_pack_write(p, s->values, nv, at->values + ov, err);
	if (!ret)
		ret = sherd_pack_write(p, s->scales, ns, at->scales + os, err);
	if (!ret)
		ret = sherd_pack_write(p, s->mins, nm, at->mins + om, err);
	if (ret)
		return ret;
	measure(p, r, s, &loss);
	pthread_mutex_lock(&p->lock);
	p->lost[r->item].err2 += loss.err2;
	p->lost[r->item].ref2 += loss.ref2;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* Norms and biases: small, so the whole vector at once. */
static int pack_vector(struct sherd_packer *p, size_t item, struct sherd_error *err)
{
	const struct sherd_pack_item *it = &p->plan.items[item];
	float *x = sherd_calloc(it->fmt.cols, 2 * sizeof(*x));
	float *row = x + it->fmt.cols; /* of a part that is put together */
	size_t at = 0;
	int i, ret;

	if (!x)
		return sherd_fail_oom(err, it->fmt.cols * 2 * sizeof(*x), it->name);
	for (i = 0; i < it->n_parts; at += it->part_rows[i++])
		if (it->part[i])
			sherd_dequant_row(it->part[i]->type, gguf_row(it->part[i], 0, row),
					  it->part_rows[i], x + at);
	if (all_finite(x, it->fmt.cols))
		ret = sherd_pack_write(p, x, it->fmt.cols * sizeof(*x), p->place[item].values, err);
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
static bool next_run(struct sherd_packer *p, struct run *r)
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

static void count_done(struct sherd_packer *p, const struct run *r, bool report)
{
	const struct sherd_pack_item *it = &p->plan.items[r->item];
	uint64_t in = 0, done;
	uint32_t row;

	for (row = 0; row < r->n_rows && !it->vector; row++) {
		const struct gguf_tensor *t;
		uint32_t at = r->first_row + row;

		t = source_of(it, &at);
		in += t ? gguf_row_bytes(t) : 0;
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
	free(s->row);
}

static int scratch_new(struct scratch *s, const struct sherd_pack_plan *plan,
		       struct sherd_error *err)
{
	size_t nv = 1, ns = 1, nm = 1, cols = 1, row = 1, i;
	int k;

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
		/* parts of several types may be rounded to one format */
		for (k = 0; k < plan->items[i].n_parts; k++)
			row = MAX(row, gguf_row_bytes(plan->items[i].part[k]));
	}
	s->values = sherd_alloc_aligned(64, nv, 1);
	s->scales = sherd_alloc_aligned(64, ns, 1);
	s->mins = sherd_alloc_aligned(64, nm, 1);
	s->q = sherd_alloc_aligned(64, cols, 1);
	s->x = sherd_alloc_aligned(64, cols, sizeof(float));
	s->scale = sherd_alloc_aligned(64, cols / 16 + 1, sizeof(float));
	s->min = sherd_alloc_aligned(64, cols / 16 + 1, sizeof(float));
	s->row = sherd_alloc_aligned(64, row, 1);
	if (s->values && s->scales && s->mins && s->q && s->x && s->scale && s->min && s->row)
		return 0;
	return sherd_fail_oom(err, nv + ns + nm + cols * 5, "packing");
}

/* The calling thread is a worker too, and the only one that calls back. */
static void work(struct sherd_packer *p, bool report)
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

static int hash_rows(struct sherd_sha256 *sha, const struct gguf_tensor *t, const atomic_bool *stop,
		     struct sherd_error *err)
{
	size_t bytes = gguf_row_bytes(t);
	uint64_t row, n = bytes ? t->size / bytes : 0;
	void *buf = sherd_alloc_aligned(64, bytes, 1);

	if (!buf)
		return sherd_fail_oom(err, bytes, "a row of weights");
	for (row = 0; row < n && !*stop; row++)
		sherd_sha256_add(sha, gguf_row(t, row, buf), bytes);
	free(buf);
	return 0;
}

static int hash_tensor(struct sherd_sha256 *sha, const struct gguf_tensor *t,
		       const atomic_bool *stop, struct sherd_error *err)
{
	uint64_t dims[GGUF_MAX_DIMS], at;
	uint32_t type = t->type;

	memcpy(dims, t->dims, sizeof(dims));
	sherd_sha256_add(sha, t->name.data, t->name.len);
	sherd_sha256_add(sha, &type, sizeof(type));
	sherd_sha256_add(sha, dims, sizeof(dims));
	if (t->view)
		return hash_rows(sha, t, stop, err);
	for (at = 0; at < t->size && !*stop; at += HASH_BYTES)
		sherd_sha256_add(sha, (const uint8_t *)t->data + at, MIN(HASH_BYTES, t->size - at));
	return 0;
}

static int hash_plan(const struct sherd_pack_plan *plan, struct sherd_sha256 *sha,
		     const atomic_bool *stop, struct sherd_error *err)
{
	size_t i;
	int k, ret = 0;

	for (i = 0; i < plan->n_items && !*stop; i++)
		for (k = 0; k < plan->items[i].n_parts && !ret; k++)
			if (plan->items[i].part[k])
				ret = hash_tensor(sha, plan->items[i].part[k], stop, err);
	return ret;
}

/*
 * Name, type, shape and bytes of every source tensor, in the order of a plan for the whole model:
 * shards of one model have one hash, whatever their layers are, and boards know each other's by it.
 */
int sherd_pack_hash(const struct gguf *g, const atomic_bool *stop, char hash[SHERD_SHA256_HEX],
		    struct sherd_error *err)
{
	const struct sherd_pack_params all = { 0 };
	struct sherd_sha256 *sha = sherd_sha256_new();
	struct sherd_pack_plan plan = { 0 };
	int ret;

	if (!sha)
		return sherd_fail_oom(err, 0, "SHA-256");
	ret = sherd_pack_plan_make(&plan, g, &all, err);
	if (!ret)
		ret = hash_plan(&plan, sha, stop, err);
	sherd_sha256_end(sha, hash);
	sherd_pack_plan_clear(&plan);
	return ret;
}

static void *hash_main(void *arg)
{
	struct sherd_packer *p = arg;
	struct sherd_error err;
	int ret = sherd_pack_hash(p->plan.g, &p->stop, p->hash, &err);

	if (ret)
		stop_all(p, ret, &err);
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
void sherd_pack_rows(struct sherd_packer *p)
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
	if (!p->ret && p->params->progress)
		p->params->progress(p->params->ctx, "packing", p->plan.bytes_in, p->plan.bytes_in);
}
