/* SPDX-License-Identifier: MIT */
/* cl_time_child: what is to be timed, and what came out, on their way to a child and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "infer/cl/cl_time.h"

#define MAX_SIDE (1 << 24)
#define MAX_N	 4096

/* A number in [1, most] at *text, which moves behind it and behind @then, if that follows. */
static bool parse_number(const char **text, char then, int most, int *v)
{
	char *end;
	long n;

	if (**text < '1' || **text > '9')
		return false;
	n = strtol(*text, &end, 10);
	if (n > most || (then && *end != then))
		return false;
	*v = (int)n;
	*text = end + (then != 0);
	return true;
}

int sherd_time_parse_sizes(struct sherd_time_job *j, const char *text, struct sherd_error *err)
{
	const char *p = text;

	for (j->n_sizes = 0; j->n_sizes < SHERD_TIME_SIZES; p++) {
		struct sherd_time_size *s = &j->size[j->n_sizes++];

		if (!parse_number(&p, 'x', MAX_SIDE, &s->rows) ||
		    !parse_number(&p, 'x', MAX_SIDE, &s->cols) ||
		    !parse_number(&p, 0, MAX_N, &s->n) || (*p && *p != ','))
			return sherd_fail(err, -EINVAL,
					  "\"%s\" is no list of ROWSxCOLUMNSxTOKENS,...", text);
		if (!*p)
			return 0;
	}
	return sherd_fail(err, -E2BIG, "more than %d sizes at once", SHERD_TIME_SIZES);
}

int sherd_timing_print(const struct sherd_timing *t, int n, char *text, size_t size)
{
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		const struct sherd_tune_time *x = &t->time[i];

		len += snprintf(text + len, size - len, "%.9g %.9g %.9g\n", x->seconds,
				x->default_seconds, x->noise);
		if (len >= size)
			return -ENOSPC;
	}
	return 0;
}

/* A driver may have printed among it: then it is none of ours. */
static int parse_timing(struct sherd_timing *t, int n, const char *text, struct sherd_error *err)
{
	for (int i = 0; i < n; i++) {
		double v[3];

		for (int k = 0; k < 3; k++) {
			char *end;

			v[k] = strtod(text, &end);
			if (end == text || *end != (k < 2 ? ' ' : '\n') || !isfinite(v[k]) ||
			    v[k] < 0)
				return sherd_fail(err, -EIO, "a child's times came back garbled");
			text = end + 1;
		}
		t->time[i] = (struct sherd_tune_time){ v[0], v[1], v[2] };
	}
	return 0;
}

int sherd_time_in_child(struct sherd_timing *t, const struct sherd_time_job *j, double limit_s,
			int stop, struct sherd_error *err)
{
	char sizes[SHERD_TIME_SIZES * 32] = "", seconds[32], threads[16], *text;
	const char *argv[12] = { "--time", j->spec, "--sizes", sizes, "--seconds", seconds };
	int n = 6, i, rc;
	size_t len = 0;

	for (i = 0; i < j->n_sizes; i++)
		len += snprintf(sizes + len, sizeof(sizes) - len, "%s%dx%dx%d", i ? "," : "",
				j->size[i].rows, j->size[i].cols, j->size[i].n);
	snprintf(seconds, sizeof(seconds), "%.3f", j->seconds);
	if (j->device) {
		argv[n++] = "--device";
		argv[n++] = j->device;
	}
	if (j->n_threads) {
		snprintf(threads, sizeof(threads), "%d", j->n_threads);
		argv[n++] = "--threads";
		argv[n++] = threads;
	}
	memset(t, 0, sizeof(*t));
	rc = sherd_device_child_text(argv, limit_s, stop, &text, err);
	if (rc)
		return rc;
	rc = parse_timing(t, j->n_sizes, text, err);
	free(text);
	return rc;
}

/* --------------------------------------------------------------- candidates */

/* Of each class; NULL ends a list. */
struct candidates {
	const char *v[SHERD_TUNE_CLASSES][12];
};

/*
 * Wide: more registers or fewer, more reuse of the activations or more work-items. parts=64 spreads
 * what the default does not, parts=1 the other way round.
 */
static const struct candidates wide_int = { {
	{ "ahead=1024", "ahead=2048", "ahead=8192", "ahead=16384" },
	{ "kernel=4", "kernel=8", "kernel=16" },
	{ "tile=1x4", "tile=1x8", "tile=2x4", "tile=2x8", "blocks=2", "blocks=8", "kernel=8" },
} };
static const struct candidates amx_int = { {
	{ "ahead=1024", "ahead=2048", "ahead=8192", "ahead=16384" },
	{ "kernel=4", "kernel=8", "kernel=16" },
	{ "blocks=2", "blocks=8", "kernel=8" },
} };
static const struct candidates wide_attention = { {
	{ "parts=1", "parts=64", "tile=1x8", "tile=2x8", "tile=4x8" },
	{ "parts=1", "parts=64", "tile=2x8", "tile=2x4" },
	{ "tile=1x4", "tile=2x4", "tile=4x4", "tile=2x8", "tile=4x2" },
} };
static const struct candidates wide_rows = { {
	{ "pieces=1", "pieces=4", "pieces=8", "pieces=32", "pieces=64" },
	{ "pieces=1", "pieces=4", "pieces=8", "pieces=32", "pieces=64" },
	{ "pieces=128" },
} };
/* SIMT: what others have measured on Mali, Adreno and NVIDIA, and what is between. */
static const struct candidates simt_int = { {
	{ "local=16", "local=32", "local=128", "local=256" },
	{ "kernel=4", "kernel=8", "local=16+kernel=4", "local=32+kernel=4", "local=128+kernel=4",
	  "local=32+kernel=8" },
	{ "local=2x4", "local=4x4", "local=4x8", "local=2x16", "local=2x32", "local=16x4",
	  "local=32x2", "local=64x1", "local=128x1", "local=64x1+kernel=4" },
} };
static const struct candidates simt_float = { {
	{ "local=16", "local=32", "local=128", "local=256" },
	{ "local=16", "local=32", "local=128", "local=256" },
	{ "local=16", "local=32", "local=128", "local=256" },
} };
#define simt_rows simt_float
static const struct candidates simt_attention = { {
	{ "parts=1", "parts=64", "local=16", "local=32", "local=128", "local=256" },
	{ "parts=1", "parts=64", "local=32", "local=128", "local=256" },
	{ "local=16", "local=32", "local=128", "local=256" },
} };

const char *sherd_time_candidate(enum sherd_shape shape, const char *dot, const char *spec,
				 enum sherd_tune_class class, int i)
{
	bool simt = shape == SHERD_SHAPE_SIMT;
	const struct candidates *c = NULL;

	if (!strncmp(spec, "int.", 4))
		c = simt ? &simt_int : strcmp(dot, "amx") ? &wide_int : &amx_int;
	else if (!strncmp(spec, "float.", 6))
		c = simt ? &simt_float : NULL;
	else if (!strncmp(spec, "attention.", 10))
		c = simt ? &simt_attention : &wide_attention;
	else if (!strcmp(spec, "rows"))
		c = simt ? &simt_rows : &wide_rows;
	return c && i >= 0 && i < (int)ARRAY_SIZE(c->v[class]) ? c->v[class][i] : NULL;
}
