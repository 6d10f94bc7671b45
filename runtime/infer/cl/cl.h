/* SPDX-License-Identifier: MIT */
/*
 * cl: the OpenCL executor's parts. A *program* is a set of kernels compiled for one purpose, named
 * by a spec ("int.4.32.0.0": 4 bits, groups of 32, half scales, no minima), so that a model
 * compiles what it needs and no more. A spec may end in a variant ("rows:pieces=8"): another
 * program, tested for itself; cl_pick.c has which is launched. cl_kernels.c launches kernels, one
 * function a kernel; cl_exec.c walks the step list with them, and cl_selftest.c compares each with
 * the C reference.
 */
#ifndef SHERD_CL_H
#define SHERD_CL_H

#include "device/device.h"
#include "device/tune.h"
#include "infer/act.h"
#include "infer/kv.h"
#include "walk.h"

enum sherd_cl_kind {
	SHERD_CL_ROWS,
	SHERD_CL_ATTENTION,
	SHERD_CL_INT,
	SHERD_CL_FLOAT,
	SHERD_CL_WALK,
	SHERD_CL_EXPERTS
};

enum sherd_cl_kernel {
	/* rows */
	SHERD_K_EMBED,
	SHERD_K_NORM,
	SHERD_K_NORM_TO,
	SHERD_K_CAP,
	SHERD_K_QUANTIZE,
	SHERD_K_ACTIVATE,
	SHERD_K_CUT,
	SHERD_K_WIRE,
	SHERD_K_GATHER,
	/* attention */
	SHERD_K_ROPE,
	SHERD_K_ATTEND,
	SHERD_K_ATTEND_MERGE,
	/* int, float: tokens at a time */
	SHERD_K_MATMUL_1,
	SHERD_K_MATMUL_4,
	SHERD_K_MATMUL_8,
	/* many tokens, in the wide shape; by a matrix unit where there is one */
	SHERD_K_MATMUL_TILE,
	SHERD_K_MATMUL_GATED, /* a gated feed-forward network's first half, likewise */
	/* walk */
	SHERD_K_WALK,
	SHERD_K_ADDRESS,
	/* experts */
	SHERD_K_ROUTE,
	SHERD_K_GROUP_PAIRS,
	SHERD_K_SPREAD,
	SHERD_K_COMBINE,
	SHERD_N_KERNELS,
};

#define SHERD_CL_SPEC (32 + SHERD_VARIANT_TEXT)

struct sherd_cl_program {
	char spec[SHERD_CL_SPEC];
	enum sherd_cl_kind kind;
	/*
	 * int: bits, group, scale f32?, min, stacks of experts?; attention: KV type, head_dim, a
	 * token's queries of a KV head; walk: int's first four and attention's; float: element, 0, 0,
	 * 0, stacks of experts?
	 */
	int arg[7];
	struct sherd_variant variant;
	cl_program program;
	cl_kernel kernel[SHERD_N_KERNELS]; /* NULL: not in this program, or not on this path */
};

/*
 * A model's most: 24 integer and 3 float formats, for matrices and for stacks of experts, as many
 * walks as integer formats, rows, attention, experts; and what a tune file adds.
 */
#define SHERD_CL_MAX_PROGRAMS 124

/* Which variant a tune file has for launches of one kind and class, where it is not the default. */
#define SHERD_CL_MAX_PICKS 96
struct sherd_cl_pick {
	enum sherd_cl_kind kind; /* rows, attention, int, float */
	struct sherd_format fmt; /* int, float: of the matrix, with its rows and columns */
	bool experts;		 /* it is a stack of them */
	enum sherd_tune_class class;
	struct sherd_variant variant;
};

/* Seconds and counts of one kernel at one shape, for `sherd bench --kernels`. */
struct sherd_cl_time {
	const char *name;
	char shape[48], variant[SHERD_VARIANT_TEXT]; /* "": the default */
	double seconds;
	double squares; /* of the seconds of single calls, added up */
	double bytes, ops;
	unsigned calls;
	bool floats; /* ops are floating point ones, else int8 */
	int op, rows; /* of one launch: its place in the list of steps, and rows */
	/* of the walk before it, whose event is the only one; 0: has an event of its own */
	double share;
};

struct sherd_cl {
	struct sherd_device *dev;
	char device[160]; /* as sherd_cl_open() was asked, and with the path that was tuned */
	char name[128]; /* the same without paths and shapes */
	bool few_threads; /* fewer were asked for than there are CPUs */
	bool forced, forced_shape; /* the path of dot4.h was part of it; the shape was */
	struct sherd_cl_program programs[SHERD_CL_MAX_PROGRAMS];
	int n_programs;
	struct sherd_tune tune; /* what was measured of this device; no entries: nothing */
	struct sherd_cl_pick picks[SHERD_CL_MAX_PICKS];
	int n_picks;
	/* by the self-test: launches take this one, whatever was picked; NULL: none is tested */
	struct sherd_cl_program *tested;
	bool tuned_dot;
	cl_mem none; /* stands for an argument that a kernel does not read */
	int step; /* number of the step in progress, for what fails */
	cl_mem failed; /* int [2]: the first failed step + 1, its row */
	/* profiling: an event a launch, and what it was */
	bool profiling;
	cl_event *events;
	struct sherd_cl_time *times;
	int n_events, cap_events;
	struct sherd_cl_time what; /* of the launch in progress */
	/* where the host's clock stood when the queue's did so: cl_profile.c */
	int clock_event; /* -1: none yet */
	double clock_host, clock_width;
	double kv_rows, q_rows; /* positions that attention reads once, and that all rows see */
	cl_int rc; /* the first failure of a launch sticks */
};

/*
 * Opens "auto", "cpu", a name ..., followed by "/<dot4.h path>" and "/simt" or "/wide" where they
 * are to be forced: "cpu/plain/simt".
 */
int sherd_cl_open(struct sherd_cl *c, const char *device, int n_threads, struct sherd_error *err);
void sherd_cl_close(struct sherd_cl *c);
/* The same device, with plain code: "cpu/wide" is "cpu/plain/wide". */
void sherd_cl_plain_device(const char *device, char *plain, size_t size);
/*
 * Looks up what was measured of the device, before any program is added: sherd_tune_search() has
 * @which. A path of dot4.h that was chosen by measurement is the device's from then on.
 */
int sherd_cl_tune(struct sherd_cl *c, const char *which, sherd_note_fn note, void *ctx,
		  struct sherd_error *err);
/* Adds the program to those that c has, unbuilt; -EINVAL for a spec that makes no sense. */
int sherd_cl_add(struct sherd_cl *c, const char *spec, struct sherd_error *err);
/*
 * The same, in each class, as tuned: for the steps between the matmuls, with norms and activations so
 * wide; for attention; for what multiplies with a matrix (@expert_rows: or with a stack of experts,
 * which have so many rows each, and what was measured of a matrix of that size).
 */
int sherd_cl_add_rows(struct sherd_cl *c, int hidden, int ffn, struct sherd_error *err);
int sherd_cl_add_attention(struct sherd_cl *c, const struct sherd_kv_shape *kv, int n_heads,
			   struct sherd_error *err);
int sherd_cl_add_matrix(struct sherd_cl *c, const struct sherd_format *f, int expert_rows,
			struct sherd_error *err);
/*
 * What walks over such matrices, where there is such a program: it multiplies and attends to a single
 * row as other launches do, and what was measured of these holds for it.
 */
int sherd_cl_add_walk(struct sherd_cl *c, const struct sherd_format *f,
		      const struct sherd_kv_shape *kv, int n_heads, struct sherd_error *err);
/* Is a program, or the path of dot4.h, another one than by default? */
bool sherd_cl_is_tuned(const struct sherd_cl *c);
/* @experts: for stacks of them. */
void sherd_cl_spec_of(const struct sherd_format *f, bool experts, char *spec, size_t size);
/* The kind of program for a format, and its arguments; the last, that they are experts, is 0. */
#define SHERD_CL_MATMUL_ARGS 5
enum sherd_cl_kind sherd_cl_args_of(const struct sherd_format *f, int arg[SHERD_CL_MATMUL_ARGS]);
/* May a program of @kind vary like this? The rest of a variant has no meaning there. */
bool sherd_cl_can_vary(enum sherd_cl_kind kind, bool experts, const struct sherd_variant *v);
/* Builds all programs that were added, or one of them, and finds their kernels. */
int sherd_cl_build(struct sherd_cl *c, struct sherd_error *err);
int sherd_cl_build_program(struct sherd_cl *c, struct sherd_cl_program *p, struct sherd_error *err);
/* The options that a program is compiled with, and its sources' names. */
#define SHERD_CL_OPTIONS 256
void sherd_cl_build_args(const struct sherd_cl_program *p, char *options, size_t size,
			 const char **source, int *n_sources);
const char *sherd_cl_kernel_name(enum sherd_cl_kernel k);
/*
 * The programs for launches of @n rows, as tuned; NULL: there is none. For the steps between the
 * matmuls; for such a cache; for such a matrix or stack of experts (n: of which an expert has so many).
 */
struct sherd_cl_program *sherd_cl_rows_program(struct sherd_cl *c, int n);
struct sherd_cl_program *sherd_cl_attention_program(struct sherd_cl *c,
						    const struct sherd_kv_shape *kv, int n);
struct sherd_cl_program *sherd_cl_matmul_program(struct sherd_cl *c, const struct sherd_format *f,
						 bool experts, int n);
/* For walks over a format with such a cache; for the choice of experts. */
struct sherd_cl_program *sherd_cl_walk_program(struct sherd_cl *c, const struct sherd_format *f,
					       const struct sherd_kv_shape *kv);
struct sherd_cl_program *sherd_cl_experts_program(struct sherd_cl *c);

/* --- the profile: what the next launch is, or a walk's step was; nothing where it is off --- */

/* @bytes: a column's. Operations are counted by name. */
void sherd_cl_note_rows(struct sherd_cl *c, const char *name, double bytes, int n, int width);
void sherd_cl_note_matmul(struct sherd_cl *c, enum sherd_cl_kernel k, const struct sherd_format *f,
			  int n);
/* @rows: an expert's; @n_read: how many of them are; @n: pairs. */
void sherd_cl_note_experts(struct sherd_cl *c, const struct sherd_format *f, int rows, int n_read,
			   int n);
void sherd_cl_note_attend(struct sherd_cl *c, int n, int n_heads, const struct sherd_kv_shape *s);
void sherd_cl_note_merge(struct sherd_cl *c, int n, int n_heads, int n_parts, int head_dim);
void sherd_cl_note_walk(struct sherd_cl *c, int n_steps);
/* The program of what was noted: its variant, if it has one. */
void sherd_cl_note_variant(struct sherd_cl *c, const struct sherd_cl_program *p);
/* What was noted took @share of the last walk's time. */
void sherd_cl_note_part(struct sherd_cl *c, double share);
/* Where the launch that was noted leaves its event; NULL: the profile is off, or has no room. */
cl_event *sherd_cl_next_event(struct sherd_cl *c);
/* The launch of the last event was enqueued between these moments. */
void sherd_cl_note_clock(struct sherd_cl *c, double before, double after);

/* --- kernels: all take device buffers, enqueue, and leave a failure in c->rc --- */

/* A matrix on the device. */
struct sherd_cl_matrix {
	struct sherd_format fmt;
	cl_mem values, scales, mins;
};

/* The two forms of A; SHERD_ACT_PAD rows follow the last. */
struct sherd_cl_act {
	cl_mem a; /* floats [n][a_stride] */
	int a_stride;
	cl_mem q, groups, halves;
	int want; /* SHERD_QUANT_... below */
};
enum { SHERD_QUANT_F32 = 1, SHERD_QUANT_Q8 = 2, SHERD_QUANT_HALVES = 4 };
/* How a matmul ends. */
enum { SHERD_CL_RESIDUAL = 1, SHERD_CL_BIAS = 2 };

/* Rows of floats: [n][stride]. */
struct sherd_cl_rows {
	cl_mem mem;
	int stride;
};

struct sherd_cl_cache {
	cl_mem pool, pages, item, pos;
	cl_mem last; /* the last position that each row sees */
	int pages_stride;
	struct sherd_kv_shape shape;
};

void sherd_cl_embed(struct sherd_cl *c, const struct sherd_cl_matrix *table,
		    const struct sherd_cl_matrix *positions, cl_mem tokens, cl_mem pos, int n,
		    float scale, cl_mem bias, struct sherd_cl_rows dst);
void sherd_cl_norm(struct sherd_cl *c, enum sherd_norm norm, struct sherd_cl_rows src, int n,
		   int width, cl_mem weight, cl_mem bias, float eps, const struct sherd_cl_act *a);
/* dst (+)= scale * norm(src), part by part: @n_parts of @width from @col on, in both. */
struct sherd_cl_norm_to {
	enum sherd_norm norm;
	int col, width, n_parts;
	int weight_step; /* floats from a part's weights to the next one's */
	bool add;
	float scale, eps;
	cl_mem weight, bias; /* bias may be NULL; weight too if norm is NONE */
};
void sherd_cl_norm_to(struct sherd_cl *c, struct sherd_cl_rows src, struct sherd_cl_rows dst, int n,
		      const struct sherd_cl_norm_to *to);
/* x = scale * x, and cap * tanh(x / cap) if @cap is not 0. */
void sherd_cl_cap(struct sherd_cl *c, struct sherd_cl_rows x, int n, int width, float scale,
		  float cap);
void sherd_cl_activate(struct sherd_cl *c, enum sherd_act act, bool gated, struct sherd_cl_rows src,
		       int n, int width, const struct sherd_cl_act *a);
void sherd_cl_cut(struct sherd_cl *c, struct sherd_cl_rows x, int n, int width, cl_mem wire);
/* Rows [first, first + n) as they travel to another process, from byte @at of @out on. */
void sherd_cl_wire(struct sherd_cl *c, struct sherd_cl_rows x, int first, int n, int width,
		   enum sherd_wire format, cl_mem out, size_t at);
void sherd_cl_gather(struct sherd_cl *c, struct sherd_cl_rows x, int width, cl_mem wanted, int n);
/* @p: sherd_cl_matmul_program(), as a rule. @k: a SHERD_K_MATMUL_..., or 0 to choose by n. */
void sherd_cl_matmul(struct sherd_cl *c, struct sherd_cl_program *p, enum sherd_cl_kernel k,
		     const struct sherd_cl_matrix *w, const struct sherd_cl_act *a, int n,
		     cl_mem bias, bool residual, struct sherd_cl_rows dst, int dst_col);
/*
 * to = act(gate) * up, quantized, where @w is the gate's rows and then as many of "up": one launch
 * instead of a matmul and an activation. sherd_cl_can_gate() tells whether there is a kernel for it
 * that pays.
 */
bool sherd_cl_can_gate(struct sherd_cl *c, const struct sherd_cl_program *p,
		       const struct sherd_format *w, int n);
void sherd_cl_matmul_gated(struct sherd_cl *c, struct sherd_cl_program *p,
			   const struct sherd_cl_matrix *w, const struct sherd_cl_act *a, int n,
			   enum sherd_act act, const struct sherd_cl_act *to);
/* table: NULL mem where positions are learned. */
void sherd_cl_rope(struct sherd_cl *c, struct sherd_cl_rows qkv, int n, int n_heads, cl_mem table,
		   int rope_dim, bool halves, float q_scale, const struct sherd_cl_cache *cache,
		   int layer);

/* Queries that share a read of K and V in the wide shape: see attention.cl. */
#define SHERD_CL_TILE_QUERIES 8
struct sherd_cl_tile {
	cl_int first_row, first_query, n_queries, item;
};
/* How far back attention looks, 0: to the beginning; what its scores are capped at, 0: nothing. */
struct sherd_cl_sight {
	int window;
	float cap;
};
/*
 * @n_parts: 0, or how many chunks the furthest row sees; parts has sherd_cl_part_floats() a (row,
 * head, chunk). @to: NULL, or where the outputs go, quantized, instead of to @att; see
 * sherd_cl_attend_quantizes().
 */
void sherd_cl_attend(struct sherd_cl *c, struct sherd_cl_rows qkv, int n, int n_heads, cl_mem tiles,
		     int n_tiles, cl_mem parts, int n_parts, struct sherd_cl_sight sight,
		     const struct sherd_cl_cache *cache, int layer, struct sherd_cl_rows att,
		     const struct sherd_cl_act *to);
bool sherd_cl_attend_quantizes(const struct sherd_cl *c, int head_dim);
int sherd_cl_part_floats(const struct sherd_cl *c, int head_dim);
size_t sherd_cl_parts_bytes(const struct sherd_cl *c, int n, int n_heads, int n_chunks,
			    int head_dim);
/* @n_parts for so many tiles, whose furthest row sees @n_chunks. */
int sherd_cl_parts(struct sherd_cl *c, const struct sherd_kv_shape *kv, int n, int n_heads,
		   int n_tiles, int n_chunks);

/* Whom rows have chosen: n rows, k experts each; pairs, slots and runs as experts.cl has them. */
struct sherd_cl_routes {
	cl_mem choice, weight; /* int, float [n][k] */
	cl_mem runs; /* int4 [sherd_cl_runs()] */
	cl_mem order, place; /* int [n * k] */
	int n_experts, k;
	bool renormalize;
};
/* The most experts that n rows can have chosen. */
static inline int sherd_cl_runs(const struct sherd_cl_routes *r, int n)
{
	return MIN(r->n_experts, n * r->k);
}
void sherd_cl_route(struct sherd_cl *c, struct sherd_cl_rows scores, int n,
		    const struct sherd_cl_routes *r);
/* @to [n * k] = A's rows, each in the slots of its pairs. */
void sherd_cl_spread(struct sherd_cl *c, const struct sherd_cl_act *a, int width, int n,
		     const struct sherd_cl_routes *r, const struct sherd_cl_act *to);
/*
 * dst [n * k] = W[expert of the slot] a [slot], @rows rows of an expert; @alone: n is 1, and a is
 * that row. No bias. @variant as of sherd_cl_matmul().
 */
void sherd_cl_matmul_experts(struct sherd_cl *c, enum sherd_cl_kernel variant,
			     const struct sherd_cl_matrix *w, int rows,
			     const struct sherd_cl_act *a, bool alone, int n,
			     const struct sherd_cl_routes *r, struct sherd_cl_rows dst, int dst_col);
/* X += the pairs' outputs, weighted; @shared.mem may be NULL; scores as of sherd_cl_route(). */
void sherd_cl_combine(struct sherd_cl *c, struct sherd_cl_rows x, int width, int n,
		      struct sherd_cl_rows out, const struct sherd_cl_routes *r,
		      struct sherd_cl_rows shared, struct sherd_cl_rows scores);

/* A run of steps for one row, in one launch: see walk.h. */
struct sherd_cl_walk {
	struct sherd_walk run;
	struct sherd_cl_program *program; /* whose format every matrix of the run has */
	cl_mem steps; /* struct sherd_walk_step [] */
	cl_mem counters; /* struct sherd_walk_counters [], zeros from run.first on */
	cl_mem x, qkv, ffn, logits, out;
	cl_mem parts, tiles;
};

void sherd_cl_walk(struct sherd_cl *c, const struct sherd_cl_walk *w,
		   const struct sherd_cl_cache *cache, const struct sherd_cl_act *a);
/*
 * Where the device has @mem [n], for a table of steps: at [n], 0 for NULL and after a failure
 * (c->rc). There is a walk program. Waits.
 */
void sherd_cl_addresses(struct sherd_cl *c, const cl_mem *mem, int n, cl_ulong *at);
/* One of the walk programs; NULL: there is none. */
struct sherd_cl_program *sherd_cl_any_walk(struct sherd_cl *c);
/*
 * The spec of the program that attends to such a cache, with the number of queries that a single
 * token has for each KV head, for which it has a faster way.
 */
void sherd_cl_attention_spec(const struct sherd_cl *c, const struct sherd_kv_shape *kv, int n_heads,
			     char *spec, size_t size);
/*
 * The spec of the program that walks over matrices of this format, with such a cache; false if
 * there is none: not in the SIMT shape, nor where there are more workers than CPUs, as they wait
 * for each other awake.
 */
bool sherd_cl_walk_spec(const struct sherd_cl *c, const struct sherd_format *f,
			const struct sherd_kv_shape *kv, int n_heads, char *spec, size_t size);
/* Writes the tiles of a batch; returns how many. @tiles NULL: only counts. */
int sherd_cl_make_tiles(const int32_t *item_row, int n_items, int group,
			struct sherd_cl_tile *tiles);

/* --- */

/*
 * Compares every kernel of the programs (specs, comma separated; NULL: the usual ones, on a CPU in
 * both shapes unless one is forced) with the C reference, bit for bit, on random shapes, one
 * program after the other, and keeps the binaries of those that pass. -EBADE: one fails, which is
 * what it would do again; it is the first without a verdict.
 */
int sherd_cl_selftest(const char *device, int n_threads, const char *specs, uint64_t seed,
		      struct sherd_error *err);

/*
 * Seconds that a child has to compile and test: a slow board compiles for minutes. Where the compiler
 * hung, other code gets a share of it.
 */
#define SHERD_CL_TIME_LIMIT	300.0
#define SHERD_CL_SECOND_CHANCE	0.2
/* What of a sentence comes before how to have it tried again. */
#define SHERD_CL_EARLIER " (at an earlier start; "
/*
 * Has this program failed on this device at an earlier start? 0: not as far as is known; -EBADE;
 * -ETIMEDOUT: it hung for @limit seconds, or longer. sherd_cl_remember(): it has now, in a child that had
 * @limit seconds and ended with @rc.
 */
int sherd_cl_recall(const char *device, int n_threads, const char *spec, double limit,
		    struct sherd_error *err);
void sherd_cl_remember(const char *device, int n_threads, const char *spec, double limit, int rc,
		       const struct sherd_error *why);

/* Turns event times on; sherd_cl_exec_times() gives those since (free() them) and clears. */
int sherd_cl_exec_profile(struct sherd_exec *e, bool on, struct sherd_error *err);
int sherd_cl_exec_times(struct sherd_exec *e, struct sherd_cl_time **times, int *n);

#endif
