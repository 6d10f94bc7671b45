/* SPDX-License-Identifier: MIT */
/*
 * metrics_text: a node's status in Prometheus' text format (version 0.0.4): a type for each metric,
 * then its samples.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "metrics.h"

/* Of a stage, or of one of its links. */
struct metric {
	const char *name, *key, *help, *type;
	const char *link; /* "up", "down"; NULL: the stage's */
	double scale;
};

static const struct metric metrics[] = {
	{ "sherd_stage_steps_total", "steps", "Steps computed.", "counter", NULL, 1 },
	{ "sherd_stage_rows_total", "rows", "Rows computed.", "counter", NULL, 1 },
	{ "sherd_stage_busy_seconds", "busy_us", "How long the present step has been running.",
	  "gauge", NULL, 1e-6 },
	{ "sherd_stage_step_seconds", "step_us", "Median time of the last steps of one row.",
	  "gauge", NULL, 1e-6 },
	{ "sherd_stage_queued_rows", "queued", "Rows that wait.", "gauge", NULL, 1 },
	{ "sherd_stage_epoch", "epoch", "The route that is served; 0: in reserve.", "gauge", NULL,
	  1 },
	{ "sherd_stage_in_bytes_total", "bytes_in", "Bytes from the stage before, over this link.",
	  "counter", "up", 1 },
	{ "sherd_stage_out_bytes_total", "bytes_out", "Bytes to the next stage, over this link.",
	  "counter", "down", 1 },
	{ "sherd_stage_out_queued_bytes", "queued", "Bytes that wait to be sent to the next stage.",
	  "gauge", "down", 1 },
	{ "sherd_stage_hop_seconds", "rtt_us", "To the next stage and back, a short frame.",
	  "gauge", "down", 1e-6 },
	{ "sherd_stage_zero_copies_total", "zero_copies",
	  "Sends that the kernel made without a copy.", "counter", "down", 1 },
};

/* A label's value, as the format has it; to be freed. */
static char *escaped(const char *s)
{
	char *text = malloc(2 * strlen(s) + 1), *to = text;

	for (; text && *s; s++) {
		if (strchr("\\\"\n", *s))
			*to++ = '\\';
		*to++ = *s == '\n' ? 'n' : *s;
	}
	if (text)
		*to = '\0';
	return text;
}

static void put_sample(FILE *out, const struct metric *m, const char *node, size_t run,
		       json_t *stage)
{
	json_t *from = m->link ? json_object_get(stage, m->link) : stage;
	json_t *v = json_object_get(from, m->key);

	if (!json_is_number(v))
		return;
	fprintf(out, "%s{node=\"%s\",run=\"%zu\",stage=\"%lld\",layers=\"%lld-%lld\"} %.9g\n",
		m->name, node, run, (long long)json_integer_value(json_object_get(stage, "stage")),
		(long long)json_integer_value(json_object_get(stage, "first")),
		(long long)json_integer_value(json_object_get(stage, "end")) - 1,
		json_number_value(v) * m->scale);
}

static void put_metric(FILE *out, const struct metric *m, const char *node, json_t *runs)
{
	json_t *run, *stage;
	size_t i, k;

	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, m->type);
	json_array_foreach(runs, i, run)
		json_array_foreach(json_object_get(run, "stages"), k, stage)
			put_sample(out, m, node, i, stage);
}

static size_t count_sessions(json_t *runs)
{
	json_t *run, *stage;
	size_t i, k, n = 0;

	json_array_foreach(runs, i, run)
		json_array_foreach(json_object_get(run, "stages"), k, stage)
			n += json_array_size(json_object_get(stage, "sessions"));
	return n;
}

/* Of all stages the one that is overdue most. */
static double overdue_us(json_t *list)
{
	double most = 0, us;
	json_t *worker;
	size_t i;

	json_array_foreach(list, i, worker) {
		us = json_number_value(json_object_get(worker, "busy_us")) -
		     json_number_value(json_object_get(worker, "due_us"));
		most = MAX(most, us);
	}
	return most;
}

static void put_all(FILE *out, const char *node, const json_t *status)
{
	json_t *runs = json_object_get(status, "runs");

	fprintf(out, "# HELP sherd_runs Pipelines that this node serves.\n# TYPE sherd_runs gauge\n"
		     "sherd_runs{node=\"%s\"} %zu\n", node, json_array_size(runs));
	fprintf(out,
		"# HELP sherd_sessions Sessions at this node's stages.\n# TYPE sherd_sessions gauge\n"
		"sherd_sessions{node=\"%s\"} %zu\n",
		node, count_sessions(runs));
	fprintf(out,
		"# HELP sherd_step_overdue_seconds So long a step is overdue: a device may hang.\n"
		"# TYPE sherd_step_overdue_seconds gauge\n"
		"sherd_step_overdue_seconds{node=\"%s\"} %.9g\n",
		node, overdue_us(json_object_get(status, "overdue")) * 1e-6);
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		put_metric(out, &metrics[i], node, runs);
}

char *metrics_text(const struct json_t *status)
{
	const char *name = json_string_value(json_object_get(status, "name"));
	char *text = NULL, *node = escaped(name ? name : "");
	size_t size;
	FILE *out = node ? open_memstream(&text, &size) : NULL;

	if (out)
		put_all(out, node, status);
	free(node);
	return !out || fclose(out) ? NULL : text;
}
