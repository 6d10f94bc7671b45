/* SPDX-License-Identifier: MIT */
/* cl_weights: see cl_weights.h. */
#include <stdlib.h>
#include "base/trace.h"
#include "infer/cl/cl_weights.h"

#define PLANES	3 /* of a matrix */
#define VECTORS 2 /* of a step */

static int by_address(const void *a, const void *b)
{
	const struct sherd_part *x = a, *y = b;

	return (x->data > y->data) - (x->data < y->data);
}

static void add_plane(struct sherd_cl_weights *w, const void *data, size_t size)
{
	if (data && size)
		w->planes[w->n_planes++] = (struct sherd_part){ .data = data, .size = size };
}

static void add_matrix(struct sherd_cl_weights *w, const struct sherd_tensor *t)
{
	if (!t)
		return;
	add_plane(w, t->values, t->values_size);
	add_plane(w, t->scales, t->scales_size);
	add_plane(w, t->mins, t->mins_size);
}

static const struct sherd_tensor *matrix_of(const struct sherd_op *op)
{
	return op->kind == SHERD_OP_EMBED ? op->table : op->w;
}

/* Each plane once: several steps may read it (tied embeddings). */
static void list_planes(struct sherd_cl_weights *w, const struct sherd_program *p)
{
	int i, n = 0;

	for (i = 0; i < p->n_ops; i++) {
		add_matrix(w, matrix_of(&p->ops[i]));
		add_matrix(w, p->ops[i].positions);
	}
	qsort(w->planes, w->n_planes, sizeof(*w->planes), by_address);
	for (i = 0; i < w->n_planes; i++)
		if (!n || w->planes[n - 1].data != w->planes[i].data)
			w->planes[n++] = w->planes[i];
	w->n_planes = n;
}

static cl_mem plane_of(const struct sherd_cl_weights *w, const void *data)
{
	struct sherd_part key = { .data = data }, *found;

	if (!data)
		return NULL;
	found = bsearch(&key, w->planes, w->n_planes, sizeof(key), by_address);
	return found ? found->mem : NULL;
}

static void fill_matrix(const struct sherd_cl_weights *w, struct sherd_cl_matrix *m,
			const struct sherd_tensor *t)
{
	if (!t)
		return;
	m->fmt = t->fmt;
	m->values = plane_of(w, t->values);
	m->scales = plane_of(w, t->scales);
	m->mins = plane_of(w, t->mins);
}

/* A copy of @n floats; NULL where there are none. */
static int copy_vector(struct sherd_cl_weights *w, struct sherd_cl *c, const float *data,
		       size_t size, cl_mem *to, struct sherd_error *err)
{
	cl_int code;

	*to = NULL;
	if (!data || !size)
		return 0;
	*to = clCreateBuffer(c->dev->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, size,
			     (void *)data, &code);
	if (code) {
		*to = NULL;
		return sherd_fail_cl(err, code, "%s: no room for %.1f MiB of weights",
				     c->dev->info.name, size / 1048576.0);
	}
	w->vectors[w->n_vectors++] = *to;
	return 0;
}

static int fill_ops(struct sherd_cl_weights *w, struct sherd_cl *c, const struct sherd_program *p,
		    struct sherd_error *err)
{
	int i, rc = 0;

	for (i = 0; i < p->n_ops && !rc; i++) {
		const struct sherd_op *op = &p->ops[i];
		size_t bias = op->kind == SHERD_OP_MATMUL ? op->w->fmt.rows : (size_t)op->width;
		size_t weight = (size_t)op->width * (op->weight_step ? op->n_parts : 1);

		fill_matrix(w, &w->op[i].w, matrix_of(op));
		fill_matrix(w, &w->op[i].positions, op->positions);
		rc = copy_vector(w, c, op->weight, 4 * weight, &w->op[i].weight, err);
		if (!rc)
			rc = copy_vector(w, c, op->bias, 4 * bias, &w->op[i].bias, err);
	}
	return rc;
}

int sherd_cl_weights_load(struct sherd_cl_weights *w, struct sherd_cl *c,
			  const struct sherd_program *p, struct sherd_region *region, bool untested,
			  struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("weights", NULL);
	int i, rc;

	w->op = sherd_calloc(p->n_ops, sizeof(*w->op));
	w->planes = sherd_calloc(2 * PLANES * (size_t)p->n_ops, sizeof(*w->planes));
	w->vectors = sherd_calloc(VECTORS * (size_t)p->n_ops + SHERD_MAX_ROPES,
				  sizeof(*w->vectors));
	w->n_ops = p->n_ops;
	if (!w->op || !w->planes || !w->vectors)
		return sherd_fail_oom(err, p->n_ops * sizeof(*w->op), "the list of weights");
	list_planes(w, p);
	rc = sherd_import_open(&w->import, c->dev, untested ? NULL : c->device, region, w->planes,
			       w->n_planes, err);
	if (!rc)
		rc = fill_ops(w, c, p, err);
	for (i = 0; i < SHERD_MAX_ROPES && !rc; i++)
		rc = copy_vector(w, c, p->rope[i], sherd_rope_bytes(&p->shard->hp, p->n_ctx),
				 &w->rope[i], err);
	return rc;
}

void sherd_cl_weights_release(struct sherd_cl_weights *w)
{
	int i;

	sherd_import_close(&w->import);
	for (i = 0; i < w->n_vectors; i++)
		clReleaseMemObject(w->vectors[i]);
	free(w->op);
	free(w->planes);
	free(w->vectors);
	memset(w, 0, sizeof(*w));
}
