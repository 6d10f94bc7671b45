/* SPDX-License-Identifier: MIT */
/*
 * exec: what an executor of the step list has to offer. step.c flattens a batch into rows, takes KV
 * pages, and calls run() once; the executor walks ops [first, end).
 *
 * The KV cache is n_pages pages of SHERD_PAGE positions, laid out as kv.h says. A session's page
 * table says which page holds positions [i * SHERD_PAGE, ...).
 */
#ifndef SHERD_EXEC_H
#define SHERD_EXEC_H

#include "infer/ops.h"
#include "region/region.h"

#define SHERD_PAGE 64 /* positions; divides SHERD_CHUNK */

/* A batch, flattened. Rows of one item are neighbours with rising positions. */
struct sherd_work {
	int n_rows, n_items;
	int first_op, end_op;
	uint64_t n; /* of the model's steps: the trace's number */
	const int32_t *tokens; /* [n_rows]; NULL if hidden is given */
	const float *hidden; /* [n_rows][hidden] */
	const int32_t *pos; /* [n_rows] */
	const int32_t *last; /* [n_rows]: the last position that the row sees */
	const int32_t *item; /* [n_rows]: index of the row's item */
	const int32_t *item_row; /* [n_items + 1]: first row of each item */
	const int32_t *pages; /* [n_items][pages_stride]: page tables */
	int pages_stride;
	const int32_t *wanted; /* [n_wanted]: rows whose result is wanted, rising */
	int n_wanted;
	/* [n_items]: bit set of layers at which the item's session is cut, and its wire type */
	const uint64_t *const *cut_layers; /* [n_items] -> bitmap words, or NULL */
	const uint8_t *wire; /* [n_items]: enum sherd_wire */
	int first_layer;
	const bool *wired; /* [n_items]: hidden has been through a cut at first_layer; or NULL */
	void *const *out; /* [n_items]: where wanted rows go, in the item's wire type; or NULL */
};

/* What is said of rows that the wire does not hold. */
#define SHERD_SENT_ROWS "the residual stream, which travels on,"

static inline bool sherd_work_is_cut(const struct sherd_work *w, int item, int layer)
{
	const uint64_t *bits = w->cut_layers ? w->cut_layers[item] : NULL;

	if (layer == w->first_layer && w->wired && w->wired[item])
		return false;
	return bits && (bits[layer / 64] >> (layer % 64) & 1);
}

/* Wanted rows of @item, among @w->wanted from *at on, which is moved behind them. */
static inline int sherd_work_wanted(const struct sherd_work *w, int item, int *at)
{
	int first = *at;

	while (*at < w->n_wanted && w->wanted[*at] < w->item_row[item + 1])
		++*at;
	return *at - first;
}

struct sherd_exec_params {
	const struct sherd_program *program;
	int n_batch, n_pages, n_threads;
	enum sherd_kv_type kv_type;
	const char *device, *tune;
	bool automatic; /* nobody asked for the device: should it fail, the CPU may take its place */
	bool untested, hold_kv;
	struct sherd_region *region; /* that the weights lie in; NULL: none */
	sherd_progress_fn progress;
	sherd_note_fn note;
	void *ctx;
};

struct sherd_exec {
	const struct sherd_exec_ops *ops;
	char device[128], why[256], tune[256];
	char chosen[16]; /* the device, as params.device, if it was measured to be the fastest */
	char bit_profile[SHERD_SHA256_HEX];
	uint64_t kv_bytes, scratch_bytes;
	const char *weights; /* how it reads them: "in place", ... */
	const struct sherd_error *weights_refused; /* [n_refused]: "", or why no better way */
	int n_refused;
	const char *(*weights_name)(int); /* of the i-th way */
};

struct sherd_exec_ops {
	/*
	 * Runs ops [first_op, end_op) over the rows. *rows: [n_wanted][width of the result], valid
	 * until the next run; NULL where they went to @w->out. A NaN or Inf in an activation is
	 * -EDOM, its sentence names layer and position.
	 */
	int (*run)(struct sherd_exec *e, const struct sherd_work *w, const float **rows,
		   struct sherd_error *err);
	/* The bytes of a page of the KV cache, as kv.h lays them out; waits. */
	int (*read_page)(struct sherd_exec *e, int page, void *bytes, struct sherd_error *err);
	int (*write_page)(struct sherd_exec *e, int page, const void *bytes,
			  struct sherd_error *err);
	/*
	 * Memory of @ring, which outlives the executor, may be what @w->out points to: a device
	 * that can write it does so itself. NULL: there is nothing to be gained. Otherwise, or
	 * if this fails, such memory is as any other.
	 */
	int (*use_ring)(struct sherd_exec *e, struct sherd_region *ring, struct sherd_error *err);
	/* Does the device still give the bits that it gave in its test? -EBADE: no. NULL: always. */
	int (*check)(struct sherd_exec *e, struct sherd_error *err);
	void (*close)(struct sherd_exec *e);
};

/*
 * Opens what computes: p->device, or the fastest if it is NULL or "auto"; and should that fail, what
 * is left: see ladder.c.
 */
int sherd_exec_open(struct sherd_exec **e, const struct sherd_exec_params *p,
		    struct sherd_error *err);

/* --- the ladder's rungs --- */

/* Which device to take where none was asked for: params.device, and why; "": as usual. */
struct sherd_exec_choice {
	char device[16], why[256];
};
void sherd_exec_choose(const struct sherd_exec_params *p, struct sherd_exec_choice *choice);

int sherd_exec_ref_open(struct sherd_exec **e, const struct sherd_exec_params *p,
			struct sherd_error *err);

/* An OpenCL device, and what it is to do without. */
struct sherd_exec_trial {
	const char *device;
	bool untuned; /* what was measured of it */
	bool walkless; /* walk.cl */
	bool plain; /* the path of dot4.h that it has */
	double limit; /* seconds for the tests that are still to be done; 0: they fail */
};
/* What a trial that failed had, and the next one can do without. */
struct sherd_exec_tried {
	char name[128]; /* of the device */
	const char *dot; /* NULL: it could not be opened, or somebody wants this very path */
	bool is_cpu, tuned, walks;
	bool programs; /* it is these that failed */
};
int sherd_exec_cl_open(struct sherd_exec **e, const struct sherd_exec_params *p,
		       const struct sherd_exec_trial *trial, struct sherd_exec_tried *tried,
		       struct sherd_error *err);

/* Bytes of one KV page over all loaded layers. */
size_t sherd_kv_page_bytes(const struct sherd_hparams *hp, int n_layers, enum sherd_kv_type type);

#endif
