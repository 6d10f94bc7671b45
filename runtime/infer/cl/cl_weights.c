/* SPDX-License-Identifier: MIT */
/* cl_weights: see cl_weights.h. */
#include <stdlib.h>
#include "infer/cl/cl_weights.h"

struct loader {
	struct sherd_cl_weights *w;
	struct sherd_cl *c;
	struct sherd_error *err;
	int rc;
};

/* A buffer with @host's bytes: those very bytes where the device shares memory with the host. */
static cl_mem load(struct loader *l, const void *host, size_t size, bool in_place)
{
	struct sherd_cl_weights *w = l->w;
	cl_mem_flags how = in_place && l->c->dev->info.is_cpu ? CL_MEM_USE_HOST_PTR :
								CL_MEM_COPY_HOST_PTR;
	cl_int code;
	int i;

	if (!host || !size || l->rc)
		return NULL;
	for (i = 0; i < w->n_owned; i++)
		if (w->host[i] == host)
			return w->owned[i];
	w->owned[i] = clCreateBuffer(l->c->dev->context, CL_MEM_READ_ONLY | how, size, (void *)host,
				     &code);
	if (code) {
		l->rc = sherd_fail_cl(l->err, code, "%s: no room for %.1f MiB of weights",
				      l->c->dev->info.name, size / 1048576.0);
		return NULL;
	}
	w->host[i] = host;
	w->n_owned++;
	return w->owned[i];
}

static void load_matrix(struct loader *l, struct sherd_cl_matrix *m, const struct sherd_tensor *t)
{
	if (!t)
		return;
	m->fmt = t->fmt;
	m->values = load(l, t->values, t->values_size, true);
	m->scales = load(l, t->scales, t->scales_size, true);
	m->mins = load(l, t->mins, t->mins_size, true);
}

int sherd_cl_weights_load(struct sherd_cl_weights *w, struct sherd_cl *c,
			  const struct sherd_program *p, struct sherd_error *err)
{
	struct loader l = { w, c, err, 0 };
	int i;

	w->op = sherd_calloc(p->n_ops, sizeof(*w->op));
	w->owned = sherd_calloc(8 * (size_t)p->n_ops + 1, sizeof(*w->owned));
	w->host = sherd_calloc(8 * (size_t)p->n_ops + 1, sizeof(*w->host));
	w->n_ops = p->n_ops;
	if (!w->op || !w->owned || !w->host)
		return sherd_fail_oom(err, p->n_ops * sizeof(*w->op), "the list of weights");
	for (i = 0; i < p->n_ops && !l.rc; i++) {
		const struct sherd_op *op = &p->ops[i];
		size_t bias = op->kind == SHERD_OP_MATMUL ? op->w->fmt.rows : (size_t)op->width;

		load_matrix(&l, &w->op[i].w, op->kind == SHERD_OP_EMBED ? op->table : op->w);
		load_matrix(&l, &w->op[i].positions, op->positions);
		w->op[i].weight = load(&l, op->weight, 4 * (size_t)op->width, false);
		w->op[i].bias = load(&l, op->bias, 4 * bias, false);
	}
	w->rope = load(&l, p->rope, sherd_rope_bytes(&p->shard->hp, p->n_ctx), false);
	return l.rc;
}

void sherd_cl_weights_release(struct sherd_cl_weights *w)
{
	int i;

	for (i = 0; i < w->n_owned; i++)
		clReleaseMemObject(w->owned[i]);
	free(w->op);
	free(w->owned);
	free(w->host);
	memset(w, 0, sizeof(*w));
}
