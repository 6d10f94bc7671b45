/* SPDX-License-Identifier: MIT */
/*
 * cl_note: what a step moves and computes, for the profile: name, shape, bytes that must be read
 * and operations. Noted before a launch; a walk's steps are noted after it, each with its share of
 * the time.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "infer/cl/cl.h"

/* What is noted: floating point operations, but for those of integer matrices. */
static void note(struct sherd_cl *c, int n, double bytes, double ops, const char *name,
		 const char *fmt, ...) __attribute__((format(printf, 6, 7)));

static void note(struct sherd_cl *c, int n, double bytes, double ops, const char *name,
		 const char *fmt, ...)
{
	va_list ap;

	if (!c->profiling)
		return;
	c->what = (struct sherd_cl_time){
		.name = name, .rows = n, .bytes = bytes, .ops = ops, .floats = true
	};
	va_start(ap, fmt);
	vsnprintf(c->what.shape, sizeof(c->what.shape), fmt, ap);
	va_end(ap);
}

/*
 * Floating point operations a column, counted by hand in the kernels' sources and rounded: an fma is
 * two, a comparison, a conversion or a rounding one. Kernels that only move have none.
 */
static double ops_of(const char *name)
{
	static const struct {
		const char *name;
		double ops;
	} list[] = { { "embed", 2 }, { "norm", 8 }, { "norm_to", 6 }, { "cap", 24 },
		     { "quantize", 4 }, { "activate", 24 },
		     { "cut", 8 },   { "wire", 6 }, { "rope", 4 }, { "route", 20 },
		     { "combine", 16 } };

	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		if (!strcmp(name, list[i].name))
			return list[i].ops;
	return 0;
}

void sherd_cl_note_rows(struct sherd_cl *c, const char *name, double bytes, int n, int width)
{
	double columns = (double)n * width;

	if (c->profiling)
		note(c, n, bytes * columns, ops_of(name) * columns, name, "%d x %d", n, width);
}

void sherd_cl_note_variant(struct sherd_cl *c, const struct sherd_cl_program *p)
{
	if (c->profiling && !sherd_variant_is_default(&p->variant))
		sherd_variant_print(&p->variant, c->what.variant);
}

void sherd_cl_note_matmul(struct sherd_cl *c, enum sherd_cl_kernel k, const struct sherd_format *f,
			  int n)
{
	size_t v, s, m;
	char fmt[24];

	if (!c->profiling)
		return;
	sherd_format_sizes(f, &v, &s, &m);
	sherd_format_name(f, fmt, sizeof(fmt));
	note(c, n, v + s + m, 2.0 * f->rows * f->cols * n, sherd_cl_kernel_name(k),
	     "%u x %u x %d %s", f->rows, f->cols, n, fmt);
	c->what.floats = !sherd_elem_is_int(f->elem);
}

void sherd_cl_note_experts(struct sherd_cl *c, const struct sherd_format *f, int rows, int n_read,
			   int n)
{
	struct sherd_format one = *f;
	size_t v, s, m;
	char fmt[24];

	if (!c->profiling)
		return;
	one.rows = rows;
	sherd_format_sizes(&one, &v, &s, &m);
	sherd_format_name(f, fmt, sizeof(fmt));
	note(c, n, (double)n_read * (v + s + m), 2.0 * rows * f->cols * n, "experts",
	     "%d of %d x %u x %d %s", n_read, rows, f->cols, n, fmt);
	c->what.floats = !sherd_elem_is_int(f->elem);
}

void sherd_cl_note_attend(struct sherd_cl *c, int n, int n_heads, const struct sherd_kv_shape *s)
{
	note(c, n, c->kv_rows * 2.0 * s->n_kv_heads * sherd_kv_side_bytes(s) / SHERD_PAGE,
	     c->q_rows * 4.0 * n_heads * s->head_dim, "attend", "%d rows, %d heads of %d", n,
	     n_heads, s->head_dim);
}

void sherd_cl_note_merge(struct sherd_cl *c, int n, int n_heads, int n_parts, int head_dim)
{
	double floats = (double)n * n_heads * n_parts * sherd_cl_part_floats(c, head_dim);

	note(c, n, 4.0 * floats, 2.0 * floats, "attend_merge", "%d rows, %d parts", n, n_parts);
}

void sherd_cl_note_walk(struct sherd_cl *c, int n_steps)
{
	note(c, 1, 0, 0, "walk", "%d steps", n_steps);
}

cl_event *sherd_cl_next_event(struct sherd_cl *c)
{
	int cap = c->cap_events ? 2 * c->cap_events : 1024;
	void *events, *times;

	if (!c->profiling)
		return NULL;
	if (c->n_events == c->cap_events) {
		events = realloc(c->events, cap * sizeof(*c->events));
		c->events = events ? events : c->events;
		times = realloc(c->times, cap * sizeof(*c->times));
		c->times = times ? times : c->times;
		if (!events || !times)
			return NULL;
		c->cap_events = cap;
	}
	c->what.op = c->step;
	c->times[c->n_events] = c->what;
	c->events[c->n_events] = NULL;
	return &c->events[c->n_events++];
}

void sherd_cl_note_clock(struct sherd_cl *c, double before, double after)
{
	if (c->clock_event >= 0 && after - before >= c->clock_width)
		return;
	c->clock_event = c->n_events - 1;
	c->clock_host = (before + after) / 2;
	c->clock_width = after - before;
}

void sherd_cl_note_part(struct sherd_cl *c, double share)
{
	c->what.share = share;
	sherd_cl_next_event(c);
}
