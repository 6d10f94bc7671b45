/* SPDX-License-Identifier: MIT */
/* cl_time: see cl_time.h. The default and the variant have a context each, and take turns. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "infer/cl/cl_selftest.h"
#include "infer/cl/cl_time_work.h"

#define MAX_TURNS   64
#define LEAST_TURNS 5
#define TURN_S	    0.02
#define MIB	    ((size_t)1 << 20)
#define HUGE_PAGE   (2 * MIB)

/* Host memory that CPU devices read in place, in large pages. */
struct memory {
	void *map;
	size_t size;
};

/* ------------------------------------------------------------------- sides */

static int open_side(struct sherd_time_side *s, const struct sherd_time_job *j, const char *spec,
		     struct sherd_error *err)
{
	char key[SHERD_SHA256_HEX], *verdict = NULL;
	int rc = sherd_cl_open(&s->c, j->device, j->n_threads, err), i;

	if (!rc)
		rc = sherd_cl_add(&s->c, spec, err);
	s->p = &s->c.programs[0];
	for (i = 0; i < j->n_sizes && !rc; i++)
		rc = sherd_time_check(s->p, &j->size[i], err);
	if (rc)
		return rc;
	if (!sherd_cl_verdict_key(&s->c, s->p, key))
		verdict = sherd_device_verdict_get(key);
	if (sherd_verdict_passed(verdict))
		rc = sherd_cl_build_program(&s->c, s->p, err);
	else
		rc = sherd_cl_selftest_program(&s->c, s->p, 1, err);
	free(verdict);
	return rc;
}

static void drop_buffers(struct sherd_time_side *s)
{
	if (s->c.dev)
		clFinish(s->c.dev->queue);
	while (s->n_mem)
		clReleaseMemObject(s->mem[--s->n_mem]);
	if (s->pool)
		clReleaseMemObject(s->pool);
	s->pool = NULL;
}

/* So many copies that the caches do not hold them: a token reads a weight, or a past, once. */
static int count_copies(const struct sherd_device_info *info, size_t size)
{
	size_t l3 = MAX(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
	size_t want = MIN(MAX(4 * l3, 64 * MIB), 512 * MIB);

	want = MIN(want, sherd_memory_available() / 8);
	if (info->max_alloc)
		want = MIN(want, info->max_alloc);
	if (info->global_mem)
		want = MIN(want, info->global_mem / 8);
	return size ? (int)MIN(MAX(want / size, 1), SHERD_TIME_COPIES) : 0;
}

static void make_pool(struct sherd_time_side *s, struct memory *m, size_t size)
{
	const cl_uint pattern = SHERD_TIME_PATTERN;
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

static int make_buffers(struct sherd_time_side *s, struct memory *m,
			const struct sherd_time_size *z, int n_copies, struct sherd_error *err)
{
	s->c.rc = 0;
	s->n_copies = n_copies;
	s->next = 0;
	s->size = *z;
	if (n_copies)
		make_pool(s, m, n_copies * sherd_time_copy_size(s->p, z));
	sherd_time_prepare(s);
	if (!s->c.rc)
		s->c.rc = clFinish(s->c.dev->queue);
	return s->c.rc ? sherd_fail_cl(err, s->c.rc, "%s: no room to time %d x %d x %d",
				       s->c.dev->info.name, z->rows, z->cols, z->n) :
			 0;
}

/* Seconds a launch, of @batch of them and one wait. */
static int turn(struct sherd_time_side *s, int batch, double *seconds, struct sherd_error *err)
{
	double start = sherd_now();
	int i;

	for (i = 0; i < batch && !s->c.rc; i++)
		sherd_time_launch(s);
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
static int take_turns(struct sherd_time_side *side[2], double seconds, struct sherd_tune_time *t,
		      struct sherd_error *err)
{
	double v[2][MAX_TURNS], q[MAX_TURNS], once, end;
	int sides = side[1] ? 2 : 1, i = 0, k, rc = 0, batch;

	for (k = 0; k < sides && !rc; k++) /* compiles for the local size, and warms up */
		rc = turn(side[k], 1, &once, err);
	if (!rc)
		rc = turn(side[0], 1, &once, err);
	batch = rc ? 1 : (int)MIN(MAX(TURN_S / MAX(once, 1e-7), 1), 1000);
	for (end = sherd_now() + seconds; !rc && i < MAX_TURNS; i++) {
		if (i >= LEAST_TURNS && sherd_now() > end)
			break;
		for (k = 0; k < sides && !rc; k++)
			rc = turn(side[(k + i) % sides], batch, &v[(k + i) % sides][i], err);
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

static int time_size(struct sherd_time_side *side[2], struct memory *m,
		     const struct sherd_time_size *z, double seconds, struct sherd_tune_time *t,
		     struct sherd_error *err)
{
	size_t copy = sherd_time_copy_size(side[0]->p, z);
	int n_copies = count_copies(&side[0]->c.dev->info, copy), k, rc = 0;

	m->size = n_copies * copy;
	m->map = mmap(NULL, m->size + HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->map == MAP_FAILED)
		return sherd_fail_oom(err, m->size, "what is timed");
	madvise(m->map, m->size + HUGE_PAGE, MADV_HUGEPAGE);
	for (k = 0; k < 2 && side[k] && !rc; k++)
		rc = make_buffers(side[k], m, z, n_copies, err);
	if (!rc)
		rc = take_turns(side, seconds, t, err);
	for (k = 0; k < 2 && side[k]; k++)
		drop_buffers(side[k]);
	munmap(m->map, m->size + HUGE_PAGE);
	return rc;
}

static int time_device(struct sherd_timing *t, const struct sherd_time_job *j,
		       struct sherd_time_side *side[2], struct sherd_error *err)
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
		struct sherd_time_side *both[2] = { side[0], colon ? side[1] : NULL };

		rc = time_size(both, &m, &j->size[i], j->seconds / j->n_sizes, &t->time[i], err);
	}
	return rc;
}

/* ---------------------------------------------------------------- reference */

/* Seconds of a row's worth of tokens; large matrices in part, as all rows take the same. */
static double time_matrix(struct sherd_st *st, const struct sherd_cl_program *p,
			  const struct sherd_time_size *z, double seconds)
{
	double v[MAX_TURNS], end = sherd_now() + seconds, start;
	struct sherd_st_act h = sherd_st_random_act(st, 1, z->cols);
	struct sherd_ref_act a = sherd_st_ref_act(&h);
	struct sherd_time_size part = *z;
	struct sherd_format f;
	struct sherd_tensor w;
	float *dst;
	int n = 0;

	while (part.rows > 64 && sherd_time_copy_size(p, &part) > 64 * MIB)
		part.rows /= 2;
	f = sherd_st_format(p, part.rows, part.cols);
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

	if (!rc && none.programs[0].kind != SHERD_CL_INT && none.programs[0].kind != SHERD_CL_FLOAT)
		rc = sherd_fail(err, -EINVAL, "plain C is timed at matmuls alone, not at %s", j->spec);
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
	struct sherd_time_side *side = sherd_calloc(2, sizeof(*side)), *both[2] = { side, side + 1 };
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
