/* SPDX-License-Identifier: MIT */
/*
 * cl_selftest: every kernel of a program against the C reference, bit for bit, on random odd
 * shapes. This is what decides whether a device may be used, and what tests/kernels runs. Results
 * are poisoned before a kernel runs, and what it has no business to write is compared too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "infer/cl/cl_selftest.h"

/*
 * Addresses; memory is what a case touches of them: 5 MiB as a rule, 110 with a head_dim of 1024.
 */
#define ARENA  ((size_t)512 << 20)

uint32_t sherd_st_random(struct sherd_st *t)
{
	t->rng = t->rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(t->rng >> 33);
}

int sherd_st_below(struct sherd_st *t, int n)
{
	return (int)(sherd_st_random(t) % (uint32_t)n);
}

float sherd_st_float(struct sherd_st *t)
{
	return (float)((int)(sherd_st_random(t) >> 8) - (1 << 22)) * (1.0f / (1 << 21));
}

void *sherd_st_floats(struct sherd_st *t, size_t n)
{
	float *x = sherd_st_alloc(t, n * sizeof(*x));
	size_t i;

	for (i = 0; i < n; i++)
		x[i] = sherd_st_float(t);
	return x;
}

/* The one place where memory can lack: before a case, so that it need not look. */
static int make_arena(struct sherd_st *t)
{
	if (t->arena)
		return 0;
	t->arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->arena != MAP_FAILED)
		return 0;
	t->arena = NULL;
	return sherd_fail_oom(t->err, ARENA, "the self-test");
}

void *sherd_st_alloc(struct sherd_st *t, size_t size)
{
	uint8_t *p;

	size = ROUND_UP(size, 64) + 256;
	if (make_arena(t) || size > ARENA - t->used)
		abort(); /* more than a case may ask for: a mistake in this folder */
	p = t->arena + t->used;
	t->used += size;
	return p;
}

cl_mem sherd_st_upload(struct sherd_st *t, const void *data, size_t size)
{
	cl_int code;
	cl_mem m;

	if (size < 64) /* the least that a buffer has */
		data = memcpy(sherd_st_alloc(t, 64), data, size);
	m = clCreateBuffer(t->c->dev->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
			   MAX(size, 64), (void *)data, &code);

	if (code && !t->c->rc)
		t->c->rc = code;
	if (t->n_mem == ARRAY_SIZE(t->mem))
		abort();
	return t->mem[t->n_mem++] = m;
}

void sherd_st_poison(void *data, size_t size)
{
	memset(data, 0xff, size);
}

void sherd_st_reset(struct sherd_st *t)
{
	while (t->n_mem)
		clReleaseMemObject(t->mem[--t->n_mem]);
	if (t->arena)
		munmap(t->arena, ARENA);
	t->arena = NULL;
	t->used = 0;
}

/* Waits, and compares the buffer with what it should be. @what, @fmt: which kernel, which case. */
void sherd_st_expect(struct sherd_st *t, cl_mem m, const void *want, size_t size, const char *what,
		     const char *fmt, ...)
{
	uint8_t *got = sherd_st_alloc(t, size);
	char shape[128];
	va_list ap;
	size_t i;

	if (t->rc)
		return;
	va_start(ap, fmt);
	vsnprintf(shape, sizeof(shape), fmt, ap);
	va_end(ap);
	if (!t->c->rc)
		t->c->rc = clEnqueueReadBuffer(t->c->dev->queue, m, CL_TRUE, 0, size, got, 0, NULL,
					       NULL);
	if (t->c->rc) {
		t->rc = sherd_fail_cl(t->err, t->c->rc, "%s: %s (%s) does not run",
				      t->c->dev->info.name, what, shape);
		return;
	}
	t->n_compared++;
	for (i = 0; i < size && got[i] == ((const uint8_t *)want)[i]; i++)
		;
	if (i == size)
		return;
	i &= ~(size_t)3;
	t->rc = sherd_fail(
		t->err, -EBADE,
		"%s: %s (%s) differs from the reference at byte %zu of %zu: 0x%08x, not 0x%08x "
		"(seed %llu); --device reference computes without it",
		t->c->dev->info.name, what, shape, i, size, *(uint32_t *)(got + i),
		*(const uint32_t *)((const uint8_t *)want + i), (unsigned long long)t->seed);
}

/* Compares what kernels said of the row that they refused, and forgets it. @row -1: none. */
void sherd_st_expect_failed(struct sherd_st *t, int row, const char *what, float x)
{
	const cl_int want[2] = { row < 0 ? 0 : t->c->step + 1, MAX(row, 0) };

	sherd_st_expect(t, t->c->failed, want, sizeof(want), what, "step and row refused, for %g",
			x);
	sherd_st_clear_failed(t);
}

void sherd_st_clear_failed(struct sherd_st *t)
{
	static const cl_int none[2];

	if (!t->c->rc)
		t->c->rc = clEnqueueWriteBuffer(t->c->dev->queue, t->c->failed, CL_TRUE, 0,
						sizeof(none), none, 0, NULL, NULL);
}

static int test_round(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	if (!t->rc)
		t->rc = make_arena(t);
	if (t->rc)
		return t->rc;
	sherd_st_clear_failed(t);
	t->c->tested = p;
	switch (p->kind) {
	case SHERD_CL_ROWS:
		sherd_st_rows(t, round);
		break;
	case SHERD_CL_ATTENTION:
		sherd_st_attention(t, p, round);
		break;
	case SHERD_CL_WALK:
		sherd_st_walk(t, p, round);
		break;
	case SHERD_CL_EXPERTS:
		sherd_st_experts(t, round);
		break;
	default:
		if (p->arg[4])
			sherd_st_matmul_experts(t, p, round);
		else
			sherd_st_matmul(t, p, round);
	}
	t->c->tested = NULL;
	sherd_st_reset(t);
	return t->rc;
}

static int test_program(struct sherd_st *t, struct sherd_cl_program *p, int rounds)
{
	int i, rc = 0;

	for (i = 0; i < rounds && !rc; i++)
		rc = test_round(t, p, i);
	return rc;
}

int sherd_cl_selftest_programs(struct sherd_cl *c, uint64_t seed, int rounds,
			       struct sherd_error *err)
{
	struct sherd_st t = { .c = c, .err = err, .seed = seed, .rng = seed };
	int i, rc = 0;

	for (i = 0; i < c->n_programs && !rc; i++)
		rc = test_program(&t, &c->programs[i], rounds);
	return rc;
}

int sherd_cl_selftest_vector(struct sherd_cl *c, struct sherd_error *err)
{
	int i, rc = 0;

	for (i = 0; i < c->n_programs && !rc; i++) {
		struct sherd_cl_program *p = &c->programs[i];
		struct sherd_st t = { .c = c, .err = err, .seed = 1, .rng = 1, .vector = true };
		bool matmul = p->kind == SHERD_CL_INT || p->kind == SHERD_CL_FLOAT;

		rc = test_round(&t, p, matmul); /* a matmul's first has one column */
	}
	return rc;
}

#define USUAL_SPECS "rows,attention.0.64,attention.1.128,int.4.32.0.0,int.8.32.0.0"
#define USUAL_WIDE  USUAL_SPECS ",walk.4.32.0.0.0.64" /* walk.cl is for CPUs */

int sherd_cl_add_list(struct sherd_cl *c, const char *specs, struct sherd_error *err)
{
	char *copy = strdup(specs), *save = NULL, *s;
	int rc = copy ? 0 : -ENOMEM;

	for (s = copy ? strtok_r(copy, ",", &save) : NULL; s && !rc; s = strtok_r(NULL, ",", &save))
		rc = sherd_cl_add(c, s, err);
	free(copy);
	return rc;
}

/*
 * The next process neither compiles nor tests. That a walk's workers wait for each other as they
 * should, few of them do not show: that counts for this process alone.
 */
static void keep_verdict(struct sherd_cl *c, const struct sherd_cl_program *p)
{
	char key[SHERD_SHA256_HEX];

	if (p->kind == SHERD_CL_WALK && c->few_threads)
		return;
	if (!sherd_cl_verdict_key(c, p, key))
		sherd_device_verdict_put(key, SHERD_PASSED, NULL);
}

void sherd_cl_selftest_keep(struct sherd_cl *c, const struct sherd_cl_program *p)
{
	const char *sources[2];
	char options[SHERD_CL_OPTIONS];
	int n;

	sherd_cl_build_args(p, options, sizeof(options), sources, &n);
	sherd_device_keep(c->dev, options, sources, n, p->program, NULL);
}

int sherd_cl_selftest_program(struct sherd_cl *c, struct sherd_cl_program *p, uint64_t seed,
			      struct sherd_error *err)
{
	struct sherd_st t = { .c = c, .err = err, .seed = seed, .rng = seed };
	int rc = sherd_cl_build_program(c, p, err);

	if (!rc)
		rc = test_program(&t, p, SHERD_ST_ROUNDS);
	if (!rc)
		keep_verdict(c, p);
	/* no memory and a device switched off are no fault of the program's */
	return rc && rc != -ENOMEM && rc != -ENODEV ? -EBADE : rc;
}

/*
 * Binaries last: a driver that does not survive its own has shown all the same that its kernels are
 * right.
 */
static int selftest_programs(struct sherd_cl *c, const char *specs, uint64_t seed,
			     struct sherd_error *err)
{
	int i, n, rc;

	if (!specs)
		specs = c->dev->shape == SHERD_SHAPE_WIDE ? USUAL_WIDE : USUAL_SPECS;
	rc = sherd_cl_add_list(c, specs, err);
	for (n = 0; n < c->n_programs && !rc; n++)
		rc = sherd_cl_selftest_program(c, &c->programs[n], seed, err);
	for (i = 0; i < n - (rc != 0); i++)
		sherd_cl_selftest_keep(c, &c->programs[i]);
	return rc;
}

int sherd_cl_selftest(const char *device, int n_threads, const char *specs, uint64_t seed,
		      struct sherd_error *err)
{
	struct sherd_cl c;
	char simt[sizeof(c.device) + 8];
	bool both;
	int rc = sherd_cl_open(&c, device, n_threads, err);

	if (rc)
		return rc;
	both = !specs && c.dev->info.is_cpu && !c.forced_shape;
	snprintf(simt, sizeof(simt), "%s/simt", c.device);
	rc = selftest_programs(&c, specs, seed, err);
	sherd_cl_close(&c);
	if (rc || !both)
		return rc;
	rc = sherd_cl_open(&c, simt, n_threads, err);
	if (rc)
		return rc;
	rc = selftest_programs(&c, NULL, seed, err);
	sherd_cl_close(&c);
	return rc;
}
