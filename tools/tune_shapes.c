/* SPDX-License-Identifier: MIT */
/* tune_shapes: the matrices that are worth a measurement, by format and size. */
#include <stdlib.h>
#include <string.h>
#include "infer/infer.h"
#include "tune.h"

#define MOST_BYTES (256u << 20) /* of a matrix: a larger one is measured by a part of its rows */

int tune_tokens(enum sherd_tune_class class)
{
	static const int tokens[SHERD_TUNE_CLASSES] = { 1, 4, 128 };

	return tokens[class];
}

static struct tune_program *program_of(struct tune *t, const char *spec)
{
	struct tune_program *p;

	for (int i = 0; i < t->n_programs; i++)
		if (!strcmp(t->program[i].spec, spec))
			return &t->program[i];
	if (t->n_programs == TUNE_PROGRAMS)
		return NULL;
	p = &t->program[t->n_programs++];
	snprintf(p->spec, sizeof(p->spec), "%s", spec);
	return p;
}

/* Of a bucket the largest; what finds no room is left to the nearest bucket that has. */
static void add(struct tune *t, const char *spec, int rows, int cols)
{
	struct tune_program *p = program_of(t, spec);
	struct sherd_time_size s = { rows, cols, 1 };

	if (!p)
		return;
	while (s.rows > 64 && sherd_time_bytes(spec, &s) > MOST_BYTES)
		s.rows /= 2;
	for (int i = 0; i < p->n; i++) {
		if (sherd_tune_bucket(p->matrix[i].rows) != sherd_tune_bucket(s.rows) ||
		    sherd_tune_bucket(p->matrix[i].cols) != sherd_tune_bucket(s.cols))
			continue;
		p->matrix[i].rows = MAX(p->matrix[i].rows, s.rows);
		p->matrix[i].cols = MAX(p->matrix[i].cols, s.cols);
		return;
	}
	if (p->n == SHERD_TIME_SIZES)
		return;
	p->matrix[p->n].rows = s.rows;
	p->matrix[p->n++].cols = s.cols;
}

static int shapes_of_model(struct tune *t)
{
	struct sherd_model_params p = t->params;
	struct sherd_model *m;
	struct sherd_error err;

	/* the reference looks at no device, and computes nothing here */
	p.device = "reference";
	p.n_ctx = p.n_batch = 1;
	if (sherd_model_open(&m, t->model, &p, &err))
		return tool_fail(&tool_tune, &err);
	for (int i = 0; i < m->program->n_ops; i++) {
		const struct sherd_op *op = &m->program->ops[i];
		char spec[SHERD_CL_SPEC];

		if (op->kind != SHERD_OP_MATMUL)
			continue;
		sherd_cl_spec_of(&op->w->fmt, false, spec, sizeof(spec));
		add(t, spec, (int)op->w->fmt.rows, (int)op->w->fmt.cols);
	}
	sherd_model_close(m);
	return TOOL_OK;
}

/* "int.4.32.0.0:2048x512": what device-test takes, with a program before it. */
static int add_shape(struct tune *t, char *text)
{
	char *colon = strchr(text, ':'), size[64];
	struct sherd_time_job j = { 0 };
	struct sherd_cl none = { 0 };

	if (colon) {
		*colon = 0;
		snprintf(size, sizeof(size), "%sx1", colon + 1);
	}
	if (!colon || strlen(text) >= SHERD_TUNE_SPEC || sherd_cl_add(&none, text, NULL) ||
	    (none.programs[0].kind != SHERD_CL_INT && none.programs[0].kind != SHERD_CL_FLOAT) ||
	    sherd_time_parse_sizes(&j, size, NULL) || j.n_sizes != 1)
		return tool_usage(&tool_tune,
				  "--shapes: '%s' is no PROGRAM:ROWSxCOLUMNS, as in "
				  "int.4.32.0.0:2048x2048",
				  text);
	add(t, text, j.size[0].rows, j.size[0].cols);
	return TOOL_OK;
}

static int shapes_of_list(struct tune *t)
{
	char *copy = strdup(t->shapes), *save = NULL, *s;
	int rc = copy ? TOOL_OK : tool_failf(&tool_tune, "no memory for the list of shapes");

	for (s = copy ? strtok_r(copy, ",", &save) : NULL; s && !rc; s = strtok_r(NULL, ",", &save))
		rc = add_shape(t, s);
	free(copy);
	return rc;
}

int tune_find_shapes(struct tune *t)
{
	int rc = t->model ? shapes_of_model(t) : shapes_of_list(t);

	if (!rc && !t->n_programs)
		return tool_failf(&tool_tune, "there are no matrices to measure");
	return rc;
}
