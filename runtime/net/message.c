/* SPDX-License-Identifier: MIT */
/*
 * message: read with json_unpack's strict form, so that a missing, an unknown or an ill-typed key
 * is a sentence of jansson's; ranges are checked here.
 */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include "net/message.h"
#include "net/push.h"

static const char *const roles[] = { "head", "data", "status", "push", "measure", "probe" };
static const char *const commands[] = { "load", "route", "drop", "end", "status", "offer",
					"profile", "probe-link" };

static json_t *parse(const uint8_t *payload, size_t size, const char *what, struct sherd_error *err)
{
	json_error_t e;
	json_t *j = json_loadb((const char *)payload, size, JSON_REJECT_DUPLICATES, &e);

	if (j && json_is_object(j))
		return j;
	if (j)
		sherd_fail(err, -EPROTO, "%s is no JSON object", what);
	else
		sherd_fail(err, -EPROTO, "%s is no JSON: %s", what, e.text);
	json_decref(j);
	return NULL;
}

void sherd_message_send(struct sherd_link *l, enum sherd_frame_type type, json_t *json)
{
	const struct sherd_frame f = { .type = type };
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (text)
		sherd_link_send(l, &f, text, (uint32_t)strlen(text));
	else
		sherd_link_hang_up(l, "no memory for a message");
	free(text);
}

/* The index of @word in @words. */
static int find_word(const char *word, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return i;
	return -1;
}

/* Copies a string of printable ASCII that has room. */
static int take_text(char *to, size_t room, const char *from, const char *what,
		     struct sherd_error *err)
{
	size_t n = strlen(from);

	if (n >= room)
		return sherd_fail(err, -EPROTO, "%s has %zu letters, and %zu are the most", what, n,
				  room - 1);
	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)from[i]))
			return sherd_fail(err, -EPROTO, "%s has a letter that no name has", what);
	memcpy(to, from, n + 1);
	return 0;
}

/* @digits lower-case hex digits, or none if @optional. */
static int take_hex(char *to, size_t digits, const char *from, bool optional, const char *what,
		    struct sherd_error *err)
{
	if (optional && !*from) {
		*to = '\0';
		return 0;
	}
	if (strlen(from) != digits || strspn(from, "0123456789abcdef") != digits)
		return sherd_fail(err, -EPROTO, "%s is not %zu hexadecimal digits", what, digits);
	memcpy(to, from, digits + 1);
	return 0;
}

static int take_u32(uint32_t *to, json_int_t v, uint32_t lo, uint32_t hi, const char *what,
		    struct sherd_error *err)
{
	if (v < lo || v > hi)
		return sherd_fail(err, -EPROTO, "%s is %lld, outside %u to %u", what, (long long)v,
				  lo, hi);
	*to = (uint32_t)v;
	return 0;
}

static int take_int(int *to, json_int_t v, int lo, int hi, const char *what,
		    struct sherd_error *err)
{
	uint32_t u = 0;
	int rc = take_u32(&u, v, (uint32_t)lo, (uint32_t)hi, what, err);

	*to = (int)u;
	return rc;
}

/* ------------------------------------------------------------- greeting */

int sherd_hello_read(struct sherd_hello *h, const uint8_t *payload, size_t size,
		     struct sherd_error *err)
{
	const char *role = "", *run = "", *model = "", *profile = "";
	json_int_t lease = 0, epoch = 0, stage = 0, layer = 0;
	json_t *j = parse(payload, size, "the greeting", err);
	json_error_t e;
	int rc = 0, at;

	*h = (struct sherd_hello){ 0 };
	if (!j)
		return -EPROTO;
	if (json_unpack_ex(j, &e, 0, "{s:s, s?s, s?I, s?I, s?I, s?s, s?s, s?I !}", "role", &role,
			   "run", &run, "lease_ms", &lease, "epoch", &epoch, "stage", &stage,
			   "model", &model, "bit_profile", &profile, "layer", &layer))
		rc = sherd_fail(err, -EPROTO, "the greeting: %s", e.text);
	at = find_word(role, roles, ARRAY_SIZE(roles));
	if (!rc && at < 0)
		rc = sherd_fail(err, -EPROTO, "the greeting has an unknown role");
	h->role = at < 0 ? 0 : (enum sherd_role)at;
	if (!rc && (h->role == SHERD_ROLE_HEAD || h->role == SHERD_ROLE_DATA))
		rc = take_hex(h->run, SHERD_RUN_ID - 1, run, false, "the run's number", err);
	rc = rc ? rc : take_u32(&h->lease_ms, lease, 0, 86400000, "the lease", err);
	if (!rc && h->role == SHERD_ROLE_DATA) {
		rc = take_u32(&h->epoch, epoch, 1, UINT32_MAX, "the epoch", err);
		rc = rc ? rc : take_u32(&h->stage, stage, 1, UINT16_MAX, "the stage", err);
		rc = rc ? rc :
			  take_hex(h->model, SHERD_SHA256_HEX - 1, model, false, "the model's hash",
				   err);
		rc = rc ? rc : take_hex(h->bit_profile, SHERD_SHA256_HEX - 1, profile, true,
					"the bit profile", err);
		rc = rc ? rc : take_int(&h->layer, layer, 0, UINT16_MAX, "the layer", err);
	}
	json_decref(j);
	return rc;
}

void sherd_hello_send(struct sherd_link *l, const struct sherd_hello *h)
{
	json_t *j = json_pack("{s:s}", "role", roles[h->role]);
	int rc = 0;

	if (h->role == SHERD_ROLE_HEAD || h->role == SHERD_ROLE_DATA)
		rc = json_object_set_new(j, "run", json_string(h->run));
	if (!rc && h->role == SHERD_ROLE_HEAD)
		rc = json_object_set_new(j, "lease_ms", json_integer(h->lease_ms));
	if (!rc && h->role == SHERD_ROLE_DATA) {
		json_t *more = json_pack("{s:I, s:I, s:s, s:s, s:i}", "epoch", (json_int_t)h->epoch,
					 "stage", (json_int_t)h->stage, "model", h->model,
					 "bit_profile", h->bit_profile, "layer", h->layer);

		rc = json_object_update(j, more);
		json_decref(more);
	}
	if (rc) {
		json_decref(j);
		j = NULL;
	}
	sherd_message_send(l, SHERD_FRAME_HELLO, j);
}

void sherd_welcome_send(struct sherd_link *l, const char *name)
{
	sherd_message_send(l, SHERD_FRAME_WELCOME,
			json_pack("{s:s, s:s}", "name", name, "version", SHERD_VERSION));
}

/* ------------------------------------------------------------- commands */

static int read_spec(struct sherd_stage_spec *s, json_t *j, struct sherd_error *err)
{
	const char *model = "";
	json_int_t bits = 0, first = 0, end = 0, n_ctx = 0, n_sessions = 0, n_batch = 0, kv = 0;
	uint32_t kv_type = 0;
	json_error_t e;
	int rc;

	if (json_unpack_ex(j, &e, 0, "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I !}", "model", &model,
			   "bits", &bits, "first", &first, "end", &end, "n_ctx", &n_ctx,
			   "n_sessions", &n_sessions, "n_batch", &n_batch, "kv", &kv))
		return sherd_fail(err, -EPROTO, "a stage: %s", e.text);
	rc = take_hex(s->model, SHERD_SHA256_HEX - 1, model, false, "the model's hash", err);
	rc = rc ? rc : take_int(&s->bits, bits, 0, 8, "the bits", err);
	rc = rc ? rc : take_int(&s->first, first, 0, UINT16_MAX, "a stage's first layer", err);
	rc = rc ? rc : take_int(&s->end, end, s->first + 1, UINT16_MAX, "a stage's end", err);
	rc = rc ? rc : take_int(&s->n_ctx, n_ctx, 1, 1 << 24, "the context", err);
	rc = rc ? rc : take_int(&s->n_sessions, n_sessions, 1, SHERD_STEP_MAX,
				"the number of sessions", err);
	rc = rc ? rc : take_int(&s->n_batch, n_batch, 1, SHERD_STEP_MAX, "the rows of a step", err);
	rc = rc ? rc : take_u32(&kv_type, kv, 0, SHERD_KV_F32, "the KV cache's type", err);
	s->kv = (enum sherd_kv_type)kv_type;
	return rc;
}

static int read_route(struct sherd_command *c, json_t *j, struct sherd_error *err)
{
	const char *previous = "", *next = "", *address = "";
	json_int_t epoch = 0, chunk = 0, window = 0;
	json_error_t e;
	int exact = 0, rc;

	if (json_unpack_ex(j, &e, 0, "{s:I, s:I, s:I, s:b, s:s, s:s, s:s !}", "epoch", &epoch,
			   "chunk", &chunk, "window", &window, "exact", &exact, "previous",
			   &previous, "next", &next, "address", &address))
		return sherd_fail(err, -EPROTO, "a route: %s", e.text);
	c->exact = exact;
	rc = take_u32(&c->epoch, epoch, 1, UINT32_MAX, "the epoch", err);
	rc = rc ? rc : take_u32(&c->chunk, chunk, 1, SHERD_STEP_MAX, "the chunk", err);
	rc = rc ? rc : take_u32(&c->window, window, 1, 1 << 16, "the window", err);
	rc = rc ? rc :
		  take_text(c->previous, sizeof(c->previous), previous, "the node before", err);
	rc = rc ? rc : take_text(c->next, sizeof(c->next), next, "the next node", err);
	rc = rc ? rc : take_text(c->next_address, sizeof(c->next_address), address,
				 "the next node's address", err);
	return rc;
}

static int read_offer(struct sherd_offer *o, json_t *j, struct sherd_error *err)
{
	const char *name = "", *sha256 = "";
	json_int_t size = 0;
	json_error_t e;
	int rc;

	if (json_unpack_ex(j, &e, 0, "{s:s, s:I, s:s !}", "name", &name, "size", &size, "sha256",
			   &sha256))
		return sherd_fail(err, -EPROTO, "an offer: %s", e.text);
	if (!sherd_file_name_ok(name))
		return sherd_fail(err, -EPROTO, "an offer's name is no plain file name");
	if (size < 1 || size > (json_int_t)1 << 44)
		return sherd_fail(err, -EPROTO, "an offer's size is %lld", (long long)size);
	o->size = (uint64_t)size;
	rc = take_text(o->name, sizeof(o->name), name, "an offer's name", err);
	return rc ? rc :
		    take_hex(o->sha256, SHERD_SHA256_HEX - 1, sha256, false, "an offer's hash",
			     err);
}

int sherd_command_read(struct sherd_command *c, const uint8_t *payload, size_t size,
		       struct sherd_error *err)
{
	json_t *j = parse(payload, size, "a command", err), *more = NULL;
	json_int_t id = 0, stage = 0;
	const char *word = "";
	json_error_t e;
	int rc = 0, at;

	*c = (struct sherd_command){ 0 };
	if (!j)
		return -EPROTO;
	if (json_unpack_ex(j, &e, 0, "{s:s, s:I, s?I, s?o !}", "do", &word, "id", &id, "stage",
			   &stage, "with", &more))
		rc = sherd_fail(err, -EPROTO, "a command: %s", e.text);
	at = find_word(word, commands, ARRAY_SIZE(commands));
	if (!rc && at < 0)
		rc = sherd_fail(err, -EPROTO, "a command is unknown here");
	c->kind = at < 0 ? 0 : (enum sherd_command_kind)at;
	rc = rc ? rc : take_u32(&c->id, id, 0, UINT32_MAX, "a command's number", err);
	rc = rc ? rc : take_u32(&c->stage, stage, c->kind >= SHERD_COMMAND_END ? 0 : 1, UINT16_MAX,
				"the stage", err);
	if (!rc && c->kind == SHERD_COMMAND_LOAD)
		rc = read_spec(&c->spec, more, err);
	if (!rc && c->kind == SHERD_COMMAND_ROUTE)
		rc = read_route(c, more, err);
	if (!rc && c->kind == SHERD_COMMAND_OFFER)
		rc = read_offer(&c->offer, more, err);
	if (!rc && c->kind >= SHERD_COMMAND_PROFILE && !json_is_object(more))
		rc = sherd_fail(err, -EPROTO, "a command does not say what it is about");
	if (!rc && c->kind >= SHERD_COMMAND_PROFILE)
		c->with = json_incref(more);
	json_decref(j);
	return rc;
}

static json_t *spec_json(const struct sherd_stage_spec *s)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "model", s->model, "bits",
			 s->bits, "first", s->first, "end", s->end, "n_ctx", s->n_ctx, "n_sessions",
			 s->n_sessions, "n_batch", s->n_batch, "kv", (int)s->kv);
}

static json_t *route_json(const struct sherd_command *c)
{
	return json_pack("{s:I, s:I, s:I, s:b, s:s, s:s, s:s}", "epoch", (json_int_t)c->epoch,
			 "chunk", (json_int_t)c->chunk, "window", (json_int_t)c->window, "exact",
			 c->exact, "previous", c->previous, "next", c->next, "address",
			 c->next_address);
}

void sherd_command_send(struct sherd_link *l, const struct sherd_command *c)
{
	json_t *more = c->kind == SHERD_COMMAND_LOAD  ? spec_json(&c->spec) :
		       c->kind == SHERD_COMMAND_ROUTE ? route_json(c) :
		       c->with			      ? json_incref(c->with) :
							json_object();

	sherd_message_send(l, SHERD_FRAME_COMMAND,
			json_pack("{s:s, s:I, s:I, s:o}", "do", commands[c->kind], "id",
				  (json_int_t)c->id, "stage", (json_int_t)c->stage, "with", more));
}

void sherd_offer_send(struct sherd_link *l, uint32_t id, const struct sherd_offer *o)
{
	sherd_message_send(l, SHERD_FRAME_COMMAND,
			   json_pack("{s:s, s:I, s:{s:s, s:I, s:s}}", "do",
				     commands[SHERD_COMMAND_OFFER], "id", (json_int_t)id, "with",
				     "name", o->name, "size", (json_int_t)o->size, "sha256",
				     o->sha256));
}

/* -------------------------------------------------------------- replies */

int sherd_reply_read(struct sherd_reply *r, const uint8_t *payload, size_t size,
		     struct sherd_error *err)
{
	json_t *j = parse(payload, size, "a reply", err);
	json_int_t id = 0, room = 0, n_batch = 0, hidden = 0, n_layers = 0, epoch = 0, have = 0;
	int whole = 0;
	const char *error = "", *profile = "";
	json_error_t e;
	int rc = 0;

	*r = (struct sherd_reply){ 0 };
	if (!j)
		return -EPROTO;
	if (json_unpack_ex(j, &e, 0, "{s:I, s?s, s?s, s?I, s?I, s?I, s?I, s?I, s?I, s?b !}", "id",
			   &id, "error", &error, "bit_profile", &profile, "room", &room, "n_batch",
			   &n_batch, "hidden", &hidden, "n_layers", &n_layers, "epoch", &epoch,
			   "have", &have, "whole", &whole))
		rc = sherd_fail(err, -EPROTO, "a reply: %s", e.text);
	rc = rc ? rc : take_u32(&r->id, id, 0, UINT32_MAX, "a reply's number", err);
	if (!rc)
		rc = take_hex(r->bit_profile, SHERD_SHA256_HEX - 1, profile, true,
			      "the bit profile", err);
	rc = rc ? rc : take_u32(&r->room, room, 0, UINT32_MAX, "the room", err);
	rc = rc ? rc : take_u32(&r->n_batch, n_batch, 0, SHERD_STEP_MAX, "the rows of a step", err);
	rc = rc ? rc : take_u32(&r->epoch, epoch, 0, UINT32_MAX, "the epoch", err);
	rc = rc ? rc : take_int(&r->hidden, hidden, 0, 1 << 20, "the width", err);
	rc = rc ? rc : take_int(&r->n_layers, n_layers, 0, UINT16_MAX, "the number of layers", err);
	if (!rc && (have < 0 || have > (json_int_t)1 << 44))
		rc = sherd_fail(err, -EPROTO, "a reply has %lld bytes", (long long)have);
	r->have = (uint64_t)have;
	r->whole = whole;
	if (!rc)
		sherd_sentence_read(r->error, sizeof(r->error), error, strlen(error));
	json_decref(j);
	return rc;
}

void sherd_reply_send(struct sherd_link *l, const struct sherd_reply *r)
{
	char error[sizeof(r->error)];
	json_t *j;

	/*
	 * It may have a file's name in it, and end in the middle of a letter: JSON takes neither.
	 */
	sherd_sentence_read(error, sizeof(error), r->error, strlen(r->error));
	if (error[0])
		j = json_pack("{s:I, s:s}", "id", (json_int_t)r->id, "error", error);
	else
		j = json_pack("{s:I, s:s, s:I, s:I, s:i, s:i, s:I, s:I, s:b}", "id",
			      (json_int_t)r->id, "bit_profile", r->bit_profile, "room",
			      (json_int_t)r->room, "n_batch", (json_int_t)r->n_batch, "hidden",
			      r->hidden, "n_layers", r->n_layers, "epoch", (json_int_t)r->epoch,
			      "have", (json_int_t)r->have, "whole", r->whole);
	sherd_message_send(l, SHERD_FRAME_REPLY, j);
}

/* ------------------------------------------------------------- sessions */

static int read_cuts(struct sherd_session_params *p, json_t *cuts, int n_layers,
		     struct sherd_error *err)
{
	size_t n = json_array_size(cuts), i;
	int *list, rc = 0;
	json_t *v;

	if (n >= (size_t)n_layers)
		return sherd_fail(err, -EPROTO, "a session has %zu cuts between %d layers", n,
				  n_layers);
	list = sherd_calloc(n + 1, sizeof(*list));
	if (!list)
		return sherd_fail_oom(err, n * sizeof(*list), "the cuts");
	p->cuts = list;
	p->n_cuts = (int)n;
	json_array_foreach(cuts, i, v) {
		if (!json_is_integer(v))
			return sherd_fail(err, -EPROTO, "a session's cut is no number");
		rc = take_int(&list[i], json_integer_value(v), 1, n_layers - 1, "a session's cut",
			      err);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_sampler(struct sherd_sampler_params *s, json_t *j, struct sherd_error *err)
{
	double temp, top_p, min_p, penalty;
	json_int_t top_k, last_n;
	const char *seed = "";
	char *end = NULL;
	json_error_t e;

	if (json_unpack_ex(j, &e, 0, "{s:F, s:I, s:F, s:F, s:F, s:I, s:s !}", "temp", &temp,
			   "top_k", &top_k, "top_p", &top_p, "min_p", &min_p, "repeat_penalty",
			   &penalty, "repeat_last_n", &last_n, "seed", &seed))
		return sherd_fail(err, -EPROTO, "a session's sampler: %s", e.text);
	if (!(temp >= -1 && temp <= 1e3) || !(top_p >= -1 && top_p <= 1e3) ||
	    !(min_p >= -1 && min_p <= 1e3) || !(penalty > 0 && penalty <= 1e3) || top_k < -1 ||
	    top_k > INT32_MAX || last_n < -1 || last_n > INT32_MAX)
		return sherd_fail(err, -EPROTO,
				  "a session's sampler has a number outside its range");
	errno = 0;
	*s = (struct sherd_sampler_params){
		.temp = (float)temp,
		.top_k = (int)top_k,
		.top_p = (float)top_p,
		.min_p = (float)min_p,
		.repeat_penalty = (float)penalty,
		.repeat_last_n = (int)last_n,
		.seed = strtoull(seed, &end, 16),
	};
	if (errno || !*seed || *end || !isxdigit((unsigned char)*seed))
		return sherd_fail(err, -EPROTO, "a session's seed is no hexadecimal number");
	return 0;
}

int sherd_open_read(struct sherd_stage_session *s, uint64_t id, const uint8_t *payload, size_t size,
		    int n_layers, struct sherd_error *err)
{
	json_t *j = parse(payload, size, "a session", err), *cuts = NULL, *sampler = NULL;
	json_int_t max = 0, wire = 0;
	int ignore_eos = 0, rc = 0;
	uint32_t wire_type = 0;
	json_error_t e;

	*s = (struct sherd_stage_session){ .id = id };
	if (!j)
		return -EPROTO;
	if (json_unpack_ex(j, &e, 0, "{s:I, s:I, s:b, s:o, s:o !}", "max", &max, "wire", &wire,
			   "ignore_eos", &ignore_eos, "cuts", &cuts, "sampler", &sampler))
		rc = sherd_fail(err, -EPROTO, "a session: %s", e.text);
	rc = rc ? rc : take_u32(&s->max, max, 1, 1 << 24, "a session's length", err);
	rc = rc ? rc : take_u32(&wire_type, wire, 0, SHERD_WIRE_F32, "a session's wire type", err);
	s->params.wire = (enum sherd_wire)wire_type;
	s->ignore_eos = ignore_eos;
	rc = rc ? rc : read_sampler(&s->params.sampler, sampler, err);
	rc = rc ? rc : read_cuts(&s->params, cuts, n_layers, err);
	json_decref(j);
	if (rc)
		sherd_stage_session_free(s);
	return rc;
}

void sherd_stage_session_free(struct sherd_stage_session *s)
{
	free((int *)s->params.cuts);
	s->params.cuts = NULL;
	s->params.n_cuts = 0;
}

char *sherd_open_text(const struct sherd_stage_session *s)
{
	const struct sherd_sampler_params *p = &s->params.sampler;
	json_t *cuts = json_array(), *j;
	char seed[17], *text;
	int rc = 0;

	for (int i = 0; i < s->params.n_cuts; i++)
		rc |= json_array_append_new(cuts, json_integer(s->params.cuts[i]));
	snprintf(seed, sizeof(seed), "%llx", (unsigned long long)p->seed);
	j = json_pack("{s:I, s:i, s:b, s:o, s:{s:f, s:i, s:f, s:f, s:f, s:i, s:s}}", "max",
		      (json_int_t)s->max, "wire", (int)s->params.wire, "ignore_eos", s->ignore_eos,
		      "cuts", cuts, "sampler", "temp", p->temp, "top_k", p->top_k, "top_p",
		      p->top_p, "min_p", p->min_p, "repeat_penalty", p->repeat_penalty,
		      "repeat_last_n", p->repeat_last_n, "seed", seed);
	text = j && !rc ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	return text;
}

/* ------------------------------------------------------------- progress */

void sherd_progress_write(const struct sherd_progress *p, uint8_t out[SHERD_PROGRESS_BYTES])
{
	const uint64_t v[] = { p->stage,    p->steps,  p->rows,	   p->busy_us, p->due_us,
			       p->sessions, p->queued, p->step_us, p->work_us, p->cut_off_us };

	_Static_assert(sizeof(v) == SHERD_PROGRESS_BYTES, "a PONG's part");
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		for (int b = 0; b < 8; b++)
			out[8 * i + b] = (uint8_t)(v[i] >> (8 * b));
}

void sherd_progress_read(struct sherd_progress *p, const uint8_t in[SHERD_PROGRESS_BYTES])
{
	uint64_t *const to[] = { &p->stage,  &p->steps,	   &p->rows,   &p->busy_us,
				 &p->due_us, &p->sessions, &p->queued, &p->step_us, &p->work_us,
				 &p->cut_off_us };

	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		*to[i] = 0;
		for (int b = 0; b < 8; b++)
			*to[i] |= (uint64_t)in[8 * i + b] << (8 * b);
	}
}
