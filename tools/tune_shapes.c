/* SPDX-License-Identifier: MIT */
/*
 * tune_shapes: what is worth a measurement: matrices by format and size, attention by its heads, the
 * steps between the matmuls by their widths.
 */
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

static bool is_matmul(const char *spec)
{
	return !strncmp(spec, "int.", 4) || !strncmp(spec, "float.", 6);
}

/* Of a bucket the largest, or the first kind of heads; false: there is no room for one more. */
static bool add(struct tune *t, const char *spec, int rows, int cols)
{
	bool heads = !strncmp(spec, "attention.", 10);
	struct tune_program *p = program_of(t, spec);
	struct sherd_time_size s = { rows, cols, 1 };

	if (!p)
		return false;
	while (is_matmul(spec) && s.rows > 64 && sherd_time_bytes(spec, &s) > MOST_BYTES)
		s.rows /= 2;
	for (int i = 0; i < p->n; i++) {
		if (sherd_tune_bucket(p->size[i].rows) != sherd_tune_bucket(s.rows) ||
		    sherd_tune_bucket(p->size[i].cols) != sherd_tune_bucket(s.cols))
			continue;
		p->size[i].rows = heads ? p->size[i].rows : MAX(p->size[i].rows, s.rows);
		p->size[i].cols = heads ? p->size[i].cols : MAX(p->size[i].cols, s.cols);
		return true;
	}
	if (p->n == SHERD_TIME_SIZES)
		return false;
	p->size[p->n].rows = s.rows;
	p->size[p->n++].cols = s.cols;
	return true;
}

/* A stack of experts is measured as a matrix of one expert's size. */
static bool add_matrix(struct tune *t, const struct sherd_op *op)
{
	const struct sherd_format *f = &op->w->fmt;
	char spec[SHERD_CL_SPEC];

	sherd_cl_spec_of(f, false, spec, sizeof(spec));
	return add(t, spec, op->expert_rows ? op->expert_rows : (int)f->rows, (int)f->cols);
}

static bool add_layer(struct tune *t, const struct sherd_program *program)
{
	const struct sherd_hparams *hp = &program->shard->hp;
	const struct sherd_kv_shape kv = { .n_kv_heads = hp->n_kv_heads,
					   .head_dim = hp->head_dim,
					   .type = t->params.kv_type };
	char spec[SHERD_CL_SPEC];

	sherd_cl_attention_spec(&t->c, &kv, hp->n_heads, spec, sizeof(spec));
	return add(t, spec, hp->n_heads, hp->n_kv_heads) &&
	       add(t, "rows", hp->hidden, MAX(sherd_program_ffn(program), 1));
}

int tune_shapes_of_model(struct tune *t)
{
	struct sherd_model_params p = t->params;
	struct sherd_model *m;
	struct sherd_error err;
	bool all = true;

	/* the reference looks at no device, and computes nothing here */
	p.device = "reference";
	p.n_ctx = p.n_batch = 1;
	if (sherd_model_open(&m, t->model, &p, &err))
		return tool_fail(&tool_tune, &err);
	for (int i = 0; i < m->program->n_ops; i++) {
		const struct sherd_op *op = &m->program->ops[i];

		if (op->kind == SHERD_OP_MATMUL || op->kind == SHERD_OP_EXPERTS)
			all &= add_matrix(t, op);
	}
	all &= add_layer(t, m->program);
	sherd_model_close(m);
	if (!all)
		tool_note(NULL, "the model has more sizes of matrices than are measured: the rest "
				"takes what the nearest gets");
	return TOOL_OK;
}

/* "int.4.32.0.0:2048x512": what device-test takes, with a program before it. */
static int add_shape(struct tune *t, char *text)
{
	char *colon = strchr(text, ':'), size[64];
	struct sherd_time_job j = { 0 };
	struct sherd_cl none = { 0 };
	struct sherd_error err;

	if (colon) {
		*colon = 0;
		snprintf(size, sizeof(size), "%sx1", colon + 1);
	}
	if (!colon || strlen(text) >= SHERD_TUNE_SPEC || sherd_cl_add(&none, text, NULL) ||
	    sherd_time_parse_sizes(&j, size, NULL) || j.n_sizes != 1)
		return tool_usage(&tool_tune,
				  "--shapes: '%s%s%s' is no PROGRAM:ROWSxCOLUMNS, as in "
				  "int.4.32.0.0:2048x2048",
				  text, colon ? ":" : "", colon ? colon + 1 : "");
	if (sherd_time_check(&none.programs[0], &j.size[0], &err))
		return tool_usage(&tool_tune, "--shapes: %s", err.msg);
	if (!add(t, text, j.size[0].rows, j.size[0].cols))
		return tool_usage(&tool_tune,
				  "--shapes: more than %d programs, or more than %d sizes of %s",
				  TUNE_PROGRAMS, SHERD_TIME_SIZES, text);
	return TOOL_OK;
}

int tune_shapes_of_list(struct tune *t)
{
	char *copy = strdup(t->shapes), *save = NULL, *s;
	int rc = copy ? TOOL_OK : tool_failf(&tool_tune, "no memory for the list of shapes");

	for (s = copy ? strtok_r(copy, ",", &save) : NULL; s && !rc; s = strtok_r(NULL, ",", &save))
		rc = add_shape(t, s);
	free(copy);
	if (!rc && !t->n_programs)
		return tool_usage(&tool_tune, "--shapes: there are none in '%s'", t->shapes);
	return rc;
}
