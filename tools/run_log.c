/* SPDX-License-Identifier: MIT */
/*
 * run_log: a run's journal, from which it can be gone on with when its head has died. The first
 * line is JSON: prompt, sampler, cuts - all that decides the tokens; then each token has a line of
 * its own, written as soon as it is known. Draws are a function of the seed, the position and the
 * tokens so far, so the text that follows is the one that would have followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"
#include "run.h"

#define LOG_MAX ((size_t)256 << 20)

static json_t *ints_json(const int *v, int n)
{
	json_t *list = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_integer(v[i]));
	return list;
}

static json_t *stops_json(const struct opt_strs *s)
{
	json_t *list = json_array();

	for (int i = 0; i < s->n; i++)
		json_array_append_new(list, json_string(s->v[i]));
	return list;
}

static char *header(const struct run *r)
{
	const struct sherd_sampler_params *p = &r->sampler;
	json_t *j = json_pack(
		"{s:i, s:b, s:s, s:s, s:i, s:b, s:i, s:o, s:o, s:o, s:{s:f, s:i, s:f, s:f, s:f, s:i, s:I}}",
		"sherd_run", 1, "answer", r->is_answer, "run", r->pipe ? pipeline_run(r->pipe) : "", "prompt", r->prompt,
		"n_predict", r->n_predict, "ignore_eos", r->ignore_eos, "wire", (int)r->wire_type,
		"cuts", ints_json(r->cuts.v, r->cuts.n), "stops", stops_json(&r->stops), "ids",
		ints_json(r->ids, r->n_ids), "sampler", "temp", p->temp, "top_k", p->top_k, "top_p",
		p->top_p, "min_p", p->min_p, "repeat_penalty", p->repeat_penalty, "repeat_last_n",
		p->repeat_last_n, "seed", (json_int_t)r->seed.v);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return text;
}

static int is_there(const struct run *r)
{
	return tool_failf(&tool_run, "%s is there already: --resume goes on with it", r->journal);
}

int run_log_check(const struct run *r)
{
	struct stat st;

	return r->journal && !r->resume && !lstat(r->journal, &st) ? is_there(r) : TOOL_OK;
}

int run_log_start(struct run *r)
{
	struct sherd_error err;
	char *text;
	int rc;

	if (!r->journal || r->resume)
		return TOOL_OK;
	r->log_fd = open(r->journal, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r->log_fd < 0 && errno == EEXIST)
		return is_there(r);
	if (r->log_fd < 0)
		return tool_failf(&tool_run, "%s: can't be written: %s", r->journal,
				  strerror(errno));
	text = header(r);
	rc = text ? sherd_write_all(r->log_fd, text, strlen(text), r->journal, &err) :
		    sherd_fail_oom(&err, 0, "a journal");
	if (!rc)
		rc = sherd_write_all(r->log_fd, "\n", 1, r->journal, &err);
	free(text);
	return rc ? tool_fail(&tool_run, &err) : TOOL_OK;
}

int run_log_token(struct run *r, int32_t token)
{
	struct sherd_error err;
	char line[16];
	int n;

	if (r->log_fd < 0)
		return TOOL_OK;
	n = snprintf(line, sizeof(line), "%d\n", token);
	return sherd_write_all(r->log_fd, line, (size_t)n, r->journal, &err) ?
		       tool_fail(&tool_run, &err) :
		       TOOL_OK;
}

/* -------------------------------------------------------------- resuming */

static int take_ints(json_t *list, int **v, int *n, struct sherd_error *err)
{
	size_t i;
	json_t *x;

	*n = (int)json_array_size(list);
	*v = sherd_calloc((size_t)*n + 1, sizeof(**v));
	if (!*v)
		return sherd_fail_oom(err, (size_t)*n * sizeof(**v), "a journal");
	json_array_foreach(list, i, x) {
		if (!json_is_integer(x) || json_integer_value(x) < 0 ||
		    json_integer_value(x) > INT32_MAX)
			return sherd_fail(err, -EINVAL, "a number in it is none");
		(*v)[i] = (int)json_integer_value(x);
	}
	return 0;
}

static int take_stops(struct run *r, json_t *list, struct sherd_error *err)
{
	size_t i;
	json_t *x;

	opt_strs_free(&r->stops);
	r->stops.v = sherd_calloc(json_array_size(list) + 1, sizeof(char *));
	if (!r->stops.v)
		return sherd_fail_oom(err, 0, "a journal");
	json_array_foreach(list, i, x) {
		if (!json_string_length(x))
			return sherd_fail(err, -EINVAL, "a stop string in it is none");
		r->stops.v[r->stops.n++] = json_string_value(x);
	}
	return 0;
}

static int read_header(struct run *r, json_t *j, struct sherd_error *err)
{
	struct sherd_sampler_params *p = &r->sampler;
	json_t *cuts, *stops, *ids;
	double temp, top_p, min_p, penalty;
	json_int_t seed;
	const char *prompt, *run;
	int version, answer = 0, ignore, wire, rc;
	json_error_t e;

	if (json_unpack_ex(
		    j, &e, 0,
		    "{s:i, s?b, s:s, s:s, s:i, s:b, s:i, s:o, s:o, s:o, s:{s:F, s:i, s:F, s:F, s:F, s:i, s:I !} !}",
		    "sherd_run", &version, "answer", &answer, "run", &run, "prompt", &prompt, "n_predict",
		    &r->n_predict, "ignore_eos", &ignore, "wire", &wire, "cuts", &cuts, "stops",
		    &stops, "ids", &ids, "sampler", "temp", &temp, "top_k", &p->top_k, "top_p",
		    &top_p, "min_p", &min_p, "repeat_penalty", &penalty, "repeat_last_n",
		    &p->repeat_last_n, "seed", &seed))
		return sherd_fail(err, -EINVAL, "its first line: %s", e.text);
	if (version != 1 || wire < 0 || wire > SHERD_WIRE_F32 || !(penalty > 0))
		return sherd_fail(err, -EINVAL,
				  "its first line is not one that this release writes");
	p->temp = (float)temp;
	p->top_p = (float)top_p;
	p->min_p = (float)min_p;
	p->repeat_penalty = (float)penalty;
	r->seed = (struct opt_seed){ (uint64_t)seed, true };
	r->ignore_eos = ignore;
	r->is_answer = answer;
	/* the nodes may have all of its sessions still */
	r->pipe_params.run = strspn(run, "0123456789abcdef") == SHERD_RUN_ID - 1 ? run : NULL;
	r->wire_type = (enum sherd_wire)wire;
	r->prompt = strdup(prompt);
	r->prompt_len = strlen(prompt);
	opt_ints_free(&r->cuts);
	rc = take_ints(cuts, &r->cuts.v, &r->cuts.n, err);
	rc = rc ? rc : take_ints(ids, &r->ids, &r->n_ids, err);
	rc = rc ? rc : take_stops(r, stops, err);
	if (!rc && (!r->prompt || !r->n_ids))
		rc = sherd_fail(err, -EINVAL, "it has no prompt");
	return rc;
}

/* A line that is not whole was being written when the end came. */
static int read_tokens(struct run *r, const char *at, struct sherd_error *err)
{
	size_t lines = 0;
	const char *p;
	char *end;

	for (p = at; (p = strchr(p, '\n')); p++)
		lines++;
	r->made = sherd_calloc(lines + 1, sizeof(*r->made));
	if (!r->made)
		return sherd_fail_oom(err, lines * sizeof(*r->made), "a journal");
	for (; (p = strchr(at, '\n')); at = p + 1) {
		long v = strtol(at, &end, 10);

		if (end != p || v < 0 || v > INT32_MAX)
			return sherd_fail(err, -EINVAL, "its line %d is no token", r->n_replay + 2);
		r->made[r->n_replay++] = (int32_t)v;
	}
	r->log_end = at - r->log_text;
	return 0;
}

/* The pieces of a line that is not whole go, so that the next token begins a line. */
static int reopen(struct run *r, struct sherd_error *err)
{
	r->log_fd = open(r->resume, O_WRONLY | O_CLOEXEC);
	if (r->log_fd < 0 || ftruncate(r->log_fd, r->log_end) || lseek(r->log_fd, 0, SEEK_END) < 0)
		return sherd_fail(err, -errno, "can't be written: %s", strerror(errno));
	r->journal = r->resume;
	return 0;
}

int run_log_resume(struct run *r)
{
	struct sherd_error err;
	json_error_t e;
	char *line;
	size_t size;
	int rc = sherd_read_file(r->resume, LOG_MAX, &r->log_text, &size, &err);

	if (rc)
		return tool_fail(&tool_run, &err);
	line = strchr(r->log_text, '\n');
	r->log_json = json_loadb(r->log_text, line ? (size_t)(line - r->log_text) : size, 0, &e);
	if (!line || !json_object_get(r->log_json, "sherd_run") || strlen(r->log_text) != size)
		rc = sherd_fail(&err, -EINVAL, "is no journal of sherd run");
	rc = rc ? rc : read_header(r, r->log_json, &err);
	rc = rc ? rc : read_tokens(r, line + 1, &err);
	rc = rc ? rc : reopen(r, &err);
	return rc ? tool_failf(&tool_run, "%s: %s", r->resume, err.msg) : TOOL_OK;
}

void run_log_close(struct run *r)
{
	if (r->log_fd >= 0)
		close(r->log_fd);
	json_decref(r->log_json);
	free(r->log_text);
	free(r->made);
}
