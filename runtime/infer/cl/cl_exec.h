/* SPDX-License-Identifier: MIT */
/*
 * cl_exec: what the OpenCL executor's files share. cl_open.c makes it, cl_exec.c walks the step
 * list with it, cl_ring.c sends its results on, cl_walk.c does many steps at once where that is possible, cl_profile.c reads its
 * clocks. Names begin with sherd_clx_ and are for these files alone; cl.h has what others call, as
 * sherd_cl_.
 */
#ifndef SHERD_CL_EXEC_H
#define SHERD_CL_EXEC_H

#include "infer/cl/cl.h"
#include "infer/cl/cl_weights.h"

/* The parts of the upload, in order. */
enum input {
	IN_FAILED,
	IN_COUNTERS,
	IN_TOKENS,
	IN_POS,
	IN_LAST,
	IN_ITEM,
	IN_WANTED,
	IN_TILES,
	IN_PAGES,
	N_INPUTS
};

struct cl_exec {
	struct sherd_exec exec;
	struct sherd_cl c;
	const struct sherd_program *program;
	const struct sherd_hparams *hp;
	struct sherd_cl_weights weights;
	int n_batch, n_pages;
	struct sherd_kv_shape shape;
	struct sherd_cl_rows buf[SHERD_N_BUFS];
	/* A; what a fused step writes while it reads A: then they swap */
	struct sherd_cl_act act, other;
	struct sherd_cl_act pairs; /* P, and who chose whom, where there are experts */
	struct sherd_cl_routes routes;
	int logit_rows;
	cl_mem pool, parts, wire;
	cl_mem steps; /* walk.cl's table; NULL: step by step */
	size_t parts_size;
	cl_mem inputs, input[N_INPUTS]; /* one buffer, and its parts */
	size_t input_at[N_INPUTS + 1];
	uint8_t *staging;
	size_t pages_cap;
	uint8_t *wires; /* [n_layers][n_batch], for the cuts */
	struct cl_ring *ring; /* that rows may go to; NULL: none */
	sherd_note_fn note; /* may be NULL */
	void *note_ctx;
	cl_mem sent; /* rows that go elsewhere; made when first needed */
	float *mapped; /* the last run's result */
	cl_mem mapped_mem;
	/* seconds that the last check took, and of steps since then: see cl_check.c */
	double check_s, unchecked_s;
	/* the run in progress */
	const struct sherd_work *w;
	int n, n_tiles, n_chunks; /* rows; attention's tiles; chunks that the furthest row sees */
	bool gathered, no_room; /* no_room: what failed has been said */
	/* the profile */
	bool summing; /* for sherd_cl_exec_times() */
	bool no_profile; /* the device has no queue for it, and that was said */
	int n_told; /* events that the trace has had */
};

extern const struct sherd_exec_ops sherd_clx_ops;

/* Room on the device, named @what should there be none; NULL then, or after an earlier failure. */
cl_mem sherd_clx_buffer(struct cl_exec *x, size_t size, const char *what, struct sherd_error *err);
void sherd_clx_release(cl_mem *m);
/* (Re)makes the upload buffer with room for @pages numbers in the page tables. */
int sherd_clx_inputs(struct cl_exec *x, size_t pages, struct sherd_error *err);
/* The last run's result goes away. */
void sherd_clx_unmap(struct cl_exec *x);
int sherd_clx_run(struct sherd_exec *e, const struct sherd_work *w, const float **rows,
		  struct sherd_error *err);

int sherd_clx_read_page(struct sherd_exec *e, int page, void *bytes, struct sherd_error *err);
int sherd_clx_write_page(struct sherd_exec *e, int page, const void *bytes,
			 struct sherd_error *err);

struct sherd_cl_cache sherd_clx_cache(const struct cl_exec *x);
/* What @op wants of A. */
struct sherd_cl_act sherd_clx_wanted(struct sherd_cl_act a, const struct sherd_op *op);
/* For the profile: positions that attention reads once, and that all rows see. */
void sherd_clx_count_positions(struct cl_exec *x, int window);
/* How many chunks attention spreads over work-items, 0 if each walks its own; grows x->parts. */
int sherd_clx_parts(struct cl_exec *x);

/* Logits are as wide as the vocabulary: room only for as many rows as somebody wanted. */
void sherd_clx_grow_logits(struct cl_exec *x, struct sherd_error *err);

/* --- the profile --- */

/* Before a run: launches are timed from here on if that is wanted, and only then. */
void sherd_clx_profile_begin(struct cl_exec *x);
/* After it: who traces is told. */
void sherd_clx_profile_end(struct cl_exec *x);

/* --- does the device still give the right bits? --- */

int sherd_clx_check(struct sherd_exec *e, struct sherd_error *err);
/* So seldom that it costs next to nothing; after a step of @step_s seconds. */
int sherd_clx_check_sometimes(struct cl_exec *x, double step_s, struct sherd_error *err);

/* --- rows that travel --- */

int sherd_clx_use_ring(struct sherd_exec *e, struct sherd_region *ring, struct sherd_error *err);
void sherd_clx_close_ring(struct cl_exec *x);
/* Enqueues that the result's rows go where the run in progress wants them. */
void sherd_clx_send_rows(struct cl_exec *x, struct sherd_error *err);
/* They are there, and the CPU has a ring's slots again; also after a failure. */
int sherd_clx_sent(struct cl_exec *x, struct sherd_error *err);

/* --- many steps in one launch --- */

/* Adds the programs that walk over the model's matrices. */
int sherd_clx_add_walks(struct cl_exec *x, const struct sherd_exec_params *p,
			struct sherd_error *err);
/* Writes the table of steps, once weights and cache are there. */
int sherd_clx_make_walk(struct cl_exec *x, struct sherd_error *err);
/* Runs the ops from @i on in one launch, as far as that goes, and returns how many; 0: none. */
int sherd_clx_walk(struct cl_exec *x, int i, struct sherd_error *err);

#endif
