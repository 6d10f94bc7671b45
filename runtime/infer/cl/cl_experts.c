/* SPDX-License-Identifier: MIT */
/*
 * cl_experts: launches what a mixture of experts needs. Grouping the rows by expert is the device's
 * own work: the host never waits to learn who chose whom. It launches as many runs as there can be,
 * and those that are empty return at once.
 */
#include "infer/cl/cl_launch.h"

#define ROUTE_ARGS(r) \
	ARG((r)->choice), ARG((r)->weight), ARG((r)->runs), ARG((r)->order), ARG((r)->place)

void sherd_cl_route(struct sherd_cl *c, struct sherd_cl_rows scores, int n,
		    const struct sherd_cl_routes *r)
{
	struct sherd_cl_program *p = sherd_cl_experts_program(c);
	size_t local[2] = { wide(c) ? 1 : SIMT_LOCAL, 1 }, global[2] = { local[0], n };
	cl_int k = r->k, renormalize = r->renormalize, n_pairs = n * k,
	       n_runs = sherd_cl_runs(r, n);
	const struct arg route[] = { ARG(scores.mem), ARG(scores.stride), ARG(r->n_experts),
				     ARG(k),	      ARG(renormalize),	  ROUTE_ARGS(r),
				     ARG(c->step),    ARG(c->failed) };
	const struct arg group[] = { ARG(r->n_experts), ARG(n_pairs), ARG(n_runs), ROUTE_ARGS(r),
				     ARG(c->failed) };

	sherd_cl_note_rows(c, "route", 4, n, r->n_experts);
	LAUNCH(c, p, SHERD_K_ROUTE, 2, global, local, route);
	if (n == 1)
		return; /* route has done it */
	sherd_cl_note_rows(c, "group_pairs", 4, n, r->k);
	LAUNCH(c, p, SHERD_K_GROUP_PAIRS, 1, local, local, group);
}

void sherd_cl_spread(struct sherd_cl *c, const struct sherd_cl_act *a, int width, int n,
		     const struct sherd_cl_routes *r, const struct sherd_cl_act *to)
{
	struct sherd_cl_act from = all_of(c, a), t = all_of(c, to);
	cl_int k = r->k;
	const struct arg args[] = { ARG(from.a),      ARG(from.a_stride), ARG(from.q),
				    ARG(from.groups), ARG(from.halves),	  ARG(width),
				    ARG(k),	      ARG(r->order),	  ACT_ARGS(t) };

	sherd_cl_note_rows(c, "spread", to->want & SHERD_QUANT_F32 ? 4 : 1.5, n * k, width);
	launch_row_groups(c, sherd_cl_experts_program(c), SHERD_K_SPREAD, width, n * k,
			  ARRAY_SIZE(args), args);
}

void sherd_cl_matmul_experts(struct sherd_cl *c, enum sherd_cl_kernel k,
			     const struct sherd_cl_matrix *w, int rows,
			     const struct sherd_cl_act *a, bool alone, int n,
			     const struct sherd_cl_routes *r, struct sherd_cl_rows dst, int dst_col)
{
	size_t n_runs = sherd_cl_runs(r, n), global[2], local[2];
	/* the rows that an expert has, if they have equally many */
	int each = DIV_ROUND_UP(n * r->k, (int)n_runs);
	struct sherd_cl_program *p = sherd_cl_matmul_program(c, &w->fmt, true, each);
	cl_int cols = w->fmt.cols, n_groups = DIV_ROUND_UP(cols, 32), flags = 0, is_alone = alone;
	cl_int unused = 0; /* how many rows there are is the run's */
	cl_mem mins = or_none(c, w->mins), halves = or_none(c, a->halves), bias = c->none;
	const struct arg int_args[] = { ARG(w->values), ARG(w->scales), ARG(mins),
					ARG(a->q),	ARG(a->groups), ARG(halves),
					ARG(rows),	ARG(n_groups),	ARG(unused),
					ARG(bias),	ARG(dst.mem),	ARG(dst.stride),
					ARG(dst_col),	ARG(flags),	ARG(r->runs),
					ARG(is_alone) };
	const struct arg float_args[] = { ARG(w->values), ARG(a->a),	    ARG(bias),
					  ARG(dst.mem),	  ARG(rows),	    ARG(cols),
					  ARG(unused),	  ARG(a->a_stride), ARG(dst.stride),
					  ARG(dst_col),	  ARG(flags),	    ARG(r->runs),
					  ARG(is_alone) };

	if (!k)
		k = sherd_cl_matmul_variant(c, p, each);
	sherd_cl_matmul_grid(c, p, k, rows, each, global, local);
	global[1] = n_runs;
	sherd_cl_note_experts(c, &w->fmt, rows, (int)n_runs, n * r->k);
	if (p->kind == SHERD_CL_INT)
		LAUNCH(c, p, k, 2, global, local, int_args);
	else
		LAUNCH(c, p, k, 2, global, local, float_args);
}

void sherd_cl_combine(struct sherd_cl *c, struct sherd_cl_rows x, int width, int n,
		      struct sherd_cl_rows out, const struct sherd_cl_routes *r,
		      struct sherd_cl_rows shared, struct sherd_cl_rows scores)
{
	cl_mem from = or_none(c, shared.mem);
	cl_int stride = shared.mem ? shared.stride : 0;
	const struct arg args[] = { ARG(x.mem),	      ARG(x.stride),   ARG(width),
				    ARG(out.mem),     ARG(out.stride), ARG(r->k),
				    ARG(r->weight),   ARG(r->place),   ARG(from),
				    ARG(stride),      ARG(scores.mem), ARG(scores.stride),
				    ARG(r->n_experts) };

	sherd_cl_note_rows(c, "combine", 8 + 4.0 * r->k, n, width);
	launch_row_groups(c, sherd_cl_experts_program(c), SHERD_K_COMBINE, width, n,
			  ARRAY_SIZE(args), args);
}
