/* SPDX-License-Identifier: MIT */
/* cl_time: see cl_time.h. The default and the variant have a context each, and take turns. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "infer/cl/cl_selftest.h"
#include "infer/cl/cl_time.h"

#define MAX_TURNS   64
#define LEAST_TURNS 5
#define TURN_S	    0.02
#define MAX_COPIES  64
#define MIB	    ((size_t)1 << 20)
#define HUGE_PAGE   (2 * MIB)
#define PATTERN	    0x2c2c2c2cu /* as a half and as a float small, and no denormal */

/* One of the two that are compared: a device with what it multiplies. */
struct side {
	struct sherd_cl c;
	struct sherd_cl_program *p;
	cl_mem pool, mem[3 * MAX_COPIES + 4];
	int n_mem;
	struct sherd_cl_matrix w[MAX_COPIES];
	int n_copies, next;
	struct sherd_cl_act a;
	struct sherd_cl_rows dst;
};

/* Host memory that CPU devices read in place, in large pages. */
struct memory {
	void *map;
	size_t size;
};

/* ------------------------------------------------------------------- sides */

static int open_side(struct side *s, const struct sherd_time_job *j, const char *spec,
		     struct sherd_error *err)
{
	char key[SHERD_SHA256_HEX], *verdict = NULL;
	int rc = sherd_cl_open(&s->c, j->device, j->n_threads, err);

	if (!rc)
		rc = sherd_cl_add(&s->c, spec, err);
	if (rc)
		return rc;
	s->p = &s->c.programs[0];
	if (s->p->kind != SHERD_CL_INT && s->p->kind != SHERD_CL_FLOAT)
		return sherd_fail(err, -EINVAL, "%s multiplies no matrices", spec);
	if (!sherd_cl_verdict_key(&s->c, s->p, key))
		verdict = sherd_device_verdict_get(key);
	if (sherd_verdict_passed(verdict))
		rc = sherd_cl_build_program(&s->c, s->p, err);
	else
		rc = sherd_cl_selftest_program(&s->c, s->p, 1, err);
	free(verdict);
	return rc;
}

static void drop_buffers(struct side *s)
{
	if (s->c.dev)
		clFinish(s->c.dev->queue);
	while (s->n_mem)
		clReleaseMemObject(s->mem[--s->n_mem]);
	if (s->pool)
		clReleaseMemObject(s->pool);
	s->pool = NULL;
}

static cl_mem keep(struct side *s, cl_mem m)
{
	return m ? s->mem[s->n_mem++] = m : NULL;
}

static cl_mem new_buffer(struct side *s, size_t size)
{
	const cl_uint pattern = PATTERN;
	cl_mem m = NULL;

	size = ROUND_UP(MAX(size, 64), 64);
	if (!s->c.rc)
		m = keep(s, clCreateBuffer(s->c.dev->context, CL_MEM_READ_WRITE, size, NULL,
					   &s->c.rc));
	if (!s->c.rc)
		s->c.rc = clEnqueueFillBuffer(s->c.dev->queue, m, &pattern, sizeof(pattern), 0,
					      size, 0, NULL, NULL);
	return m;
}

static cl_mem cut(struct side *s, size_t *at, size_t size)
{
	cl_buffer_region r = { *at, size };

	*at += ROUND_UP(size, 4096);
	if (!size || s->c.rc)
		return NULL;
	return keep(s, clCreateSubBuffer(s->pool, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
					 &r, &s->c.rc));
}

static size_t copy_size(const struct sherd_format *f)
{
	size_t v, s, m;

	sherd_format_sizes(f, &v, &s, &m);
	return ROUND_UP(v, 4096) + ROUND_UP(s, 4096) + ROUND_UP(m, 4096);
}

/* So many copies that the caches do not hold them: a token reads a weight once. */
static int count_copies(const struct sherd_device_info *info, size_t size)
{
	size_t l3 = MAX(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
	size_t want = MIN(MAX(4 * l3, 64 * MIB), 512 * MIB);

	want = MIN(want, sherd_memory_available() / 8);
	if (info->max_alloc)
		want = MIN(want, info->max_alloc);
	if (info->global_mem)
		want = MIN(want, info->global_mem / 8);
	return (int)MIN(MAX(want / size, 1), MAX_COPIES);
}

static void make_pool(struct side *s, struct memory *m, size_t size)
{
	const cl_uint pattern = PATTERN;
	bool host = s->c.dev->info.is_cpu && m->size >= size;
	cl_mem_flags where = host			 ? CL_MEM_USE_HOST_PTR :
			     s->c.dev->info.host_unified ? CL_MEM_ALLOC_HOST_PTR :
							   0;
	void *at = host ? (void *)ROUND_UP((uintptr_t)m->map, HUGE_PAGE) : NULL;

	s->pool = clCreateBuffer(s->c.dev->context, CL_MEM_READ_WRITE | where, size, at, &s->c.rc);
	if (s->c.rc)
		s->pool = NULL;
	else
		s->c.rc = clEnqueueFillBuffer(s->c.dev->queue, s->pool, &pattern, sizeof(pattern),
					      0, size, 0, NULL, NULL);
}

static int make_buffers(struct side *s, struct memory *m, const struct sherd_time_size *z,
			int n_copies, struct sherd_error *err)
{
	struct sherd_format f = sherd_st_format(s->p, z->rows, z->cols);
	size_t v, sc, mn, at = 0, rows = z->n + SHERD_ACT_PAD;
	size_t groups = rows * DIV_ROUND_UP(z->cols, 32);
	int i;

	sherd_format_sizes(&f, &v, &sc, &mn);
	s->c.rc = 0;
	s->n_copies = n_copies;
	s->next = 0;
	make_pool(s, m, n_copies * copy_size(&f));
	for (i = 0; i < n_copies && !s->c.rc; i++) {
		s->w[i].fmt = f;
		s->w[i].values = cut(s, &at, v);
		s->w[i].scales = cut(s, &at, sc);
		s->w[i].mins = cut(s, &at, mn);
	}
	s->a = (struct sherd_cl_act){ .a_stride = z->cols };
	if (s->p->kind == SHERD_CL_FLOAT) {
		s->a.a = new_buffer(s, 4 * rows * z->cols);
	} else {
		s->a.q = new_buffer(s, 32 * groups);
		s->a.groups = new_buffer(s, 16 * groups);
		s->a.halves = new_buffer(s, 16 * groups);
	}
	s->dst = (struct sherd_cl_rows){ new_buffer(s, 4 * (size_t)z->n * z->rows), z->rows };
	if (!s->c.rc)
		s->c.rc = clFinish(s->c.dev->queue);
	return s->c.rc ? sherd_fail_cl(err, s->c.rc, "%s: no room to time %d x %d x %d",
				       s->c.dev->info.name, z->rows, z->cols, z->n) :
			 0;
}

/* Seconds a launch, of @batch of them and one wait. */
static int turn(struct side *s, int n, int batch, double *seconds, struct sherd_error *err)
{
	double start = sherd_now();
	int i;

	for (i = 0; i < batch && !s->c.rc; i++) {
		sherd_cl_matmul(&s->c, s->p, 0, &s->w[s->next], &s->a, n, NULL, false, s->dst, 0);
		s->next = (s->next + 1) % s->n_copies;
	}
	if (!s->c.rc)
		s->c.rc = clFinish(s->c.dev->queue);
	*seconds = (sherd_now() - start) / batch;
	return s->c.rc ? sherd_fail_cl(err, s->c.rc, "%s: %s does not run", s->c.dev->info.name,
				       s->p->spec) :
			 0;
}

/* ------------------------------------------------------------------ numbers */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* What remains of the deviation in the median of @n quotients. */
static double noise_of(double *q, int n)
{
	double m = median(q, n), off[MAX_TURNS];

	for (int i = 0; i < n; i++)
		off[i] = fabs(q[i] - m);
	return 1.4826 * median(off, n) / sqrt(n) / MAX(m, 1e-12);
}

/* Turns of @side[0] and @side[1] (NULL: the same), until @seconds are over. */
static int take_turns(struct side *side[2], int n, double seconds, struct sherd_tune_time *t,
		      struct sherd_error *err)
{
	double v[2][MAX_TURNS], q[MAX_TURNS], once, end;
	int sides = side[1] ? 2 : 1, i = 0, k, rc = 0, batch;

	for (k = 0; k < sides && !rc; k++) /* compiles for the local size, and warms up */
		rc = turn(side[k], n, 1, &once, err);
	if (!rc)
		rc = turn(side[0], n, 1, &once, err);
	batch = rc ? 1 : (int)MIN(MAX(TURN_S / MAX(once, 1e-7), 1), 1000);
	for (end = sherd_now() + seconds; !rc && i < MAX_TURNS; i++) {
		if (i >= LEAST_TURNS && sherd_now() > end)
			break;
		for (k = 0; k < sides && !rc; k++)
			rc = turn(side[(k + i) % sides], n, batch, &v[(k + i) % sides][i], err);
		q[i] = sides == 2 ? v[0][i] / v[1][i] : 1;
	}
	if (rc)
		return rc;
	t->default_seconds = median(v[0], i);
	t->seconds = sides == 2 ? median(v[1], i) : t->default_seconds;
	t->noise = sides == 2 ? noise_of(q, i) : 0;
	if (sides == 2) /* the quotient in turns says more than that of two medians */
		t->default_seconds = t->seconds * median(q, i);
	return 0;
}

static int time_size(struct side *side[2], struct memory *m, const struct sherd_time_size *z,
		     double seconds, struct sherd_tune_time *t, struct sherd_error *err)
{
	struct sherd_format f = sherd_st_format(side[0]->p, z->rows, z->cols);
	int n_copies = count_copies(&side[0]->c.dev->info, copy_size(&f)), k, rc = 0;

	m->size = n_copies * copy_size(&f);
	m->map = mmap(NULL, m->size + HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->map == MAP_FAILED)
		return sherd_fail_oom(err, m->size, "what is timed");
	madvise(m->map, m->size + HUGE_PAGE, MADV_HUGEPAGE);
	for (k = 0; k < 2 && side[k] && !rc; k++)
		rc = make_buffers(side[k], m, z, n_copies, err);
	if (!rc)
		rc = take_turns(side, z->n, seconds, t, err);
	for (k = 0; k < 2 && side[k]; k++)
		drop_buffers(side[k]);
	munmap(m->map, m->size + HUGE_PAGE);
	return rc;
}

static int time_device(struct sherd_timing *t, const struct sherd_time_job *j, struct side *side[2],
		       struct sherd_error *err)
{
	const char *colon = strchr(j->spec, ':');
	char base[SHERD_CL_SPEC];
	struct memory m;
	int i, rc;

	snprintf(base, sizeof(base), "%.*s", (int)strcspn(j->spec, ":"), j->spec);
	rc = open_side(side[0], j, base, err);
	if (!rc && colon)
		rc = open_side(side[1], j, j->spec, err);
	for (i = 0; i < j->n_sizes && !rc; i++) {
		struct side *both[2] = { side[0], colon ? side[1] : NULL };

		rc = time_size(both, &m, &j->size[i], j->seconds / j->n_sizes, &t->time[i], err);
	}
	return rc;
}

/* ---------------------------------------------------------------- reference */

/* Seconds of a row's worth of tokens; large matrices in part, as all rows take the same. */
static double time_matrix(struct sherd_st *st, const struct sherd_cl_program *p,
			  const struct sherd_time_size *z, double seconds)
{
	struct sherd_format f = sherd_st_format(p, z->rows, z->cols);
	double v[MAX_TURNS], end = sherd_now() + seconds, start;
	struct sherd_st_act h = sherd_st_random_act(st, 1, f.cols);
	struct sherd_ref_act a = sherd_st_ref_act(&h);
	struct sherd_tensor w;
	float *dst;
	int n = 0;

	while (f.rows > 64 && copy_size(&f) > 64 * MIB)
		f.rows /= 2;
	w = (struct sherd_tensor){ .fmt = f };
	dst = sherd_st_alloc(st, 4 * (size_t)f.rows);
	sherd_format_sizes(&f, &w.values_size, &w.scales_size, &w.mins_size);
	w.values = sherd_st_alloc(st, w.values_size + 64);
	w.scales = sherd_st_alloc(st, w.scales_size);
	w.mins = sherd_st_alloc(st, w.mins_size);
	for (; n < MAX_TURNS && (n < 2 || sherd_now() < end); n++) {
		start = sherd_now();
		sherd_ref_matmul(&w, &a, 1, NULL, false, dst, f.rows);
		v[n] = sherd_now() - start;
	}
	return median(v, n) * z->rows / f.rows;
}

/* Plain C: all tokens take as long as each, so that one is enough. */
static int time_reference(struct sherd_timing *t, const struct sherd_time_job *j,
			  struct sherd_error *err)
{
	struct sherd_cl none = { 0 };
	struct sherd_st st = { .c = &none, .err = err, .rng = 1 };
	int i, rc = sherd_cl_add(&none, j->spec, err);

	for (i = 0; i < j->n_sizes && !rc; i++) {
		double one =
			time_matrix(&st, &none.programs[0], &j->size[i], j->seconds / j->n_sizes);

		t->time[i].seconds = t->time[i].default_seconds = j->size[i].n * one;
		sherd_st_reset(&st);
	}
	return rc;
}

int sherd_time_here(struct sherd_timing *t, const struct sherd_time_job *j, struct sherd_error *err)
{
	struct side *side = sherd_calloc(2, sizeof(*side)), *both[2] = { side, side + 1 };
	int k, rc;

	memset(t, 0, sizeof(*t));
	if (!side)
		return sherd_fail_oom(err, 2 * sizeof(*side), "what is timed");
	if (j->device && !strcmp(j->device, "reference"))
		rc = time_reference(t, j, err);
	else
		rc = time_device(t, j, both, err);
	for (k = 0; k < 2; k++) {
		drop_buffers(&side[k]);
		sherd_cl_close(&side[k].c);
	}
	free(side);
	return rc;
}
