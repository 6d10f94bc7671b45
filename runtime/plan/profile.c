/* SPDX-License-Identifier: MIT */
/*
 * profile: reads and writes what a node measured, and looks times up in it. A profile comes from
 * another machine: what would make the planner's sums meaningless (times that are no numbers,
 * layers without a time) is refused here.
 */
#include "plan/profile.h"

#include <stdlib.h>

#define VERSION	  1
#define MAX_US	  1e10 /* hours */
#define MAX_BYTES ((int64_t)1 << 50)

/* ------------------------------------------------------------------ curves */

double sherd_curve_at(const struct sherd_curve *c, int tokens)
{
	int i = 1;

	if (!c->n)
		return 0;
	if (c->n == 1 || tokens <= c->tokens[0])
		return c->us[0];
	while (i < c->n - 1 && tokens > c->tokens[i])
		i++;
	return MAX(0, c->us[i - 1] + (c->us[i] - c->us[i - 1]) * (tokens - c->tokens[i - 1]) /
					     (c->tokens[i] - c->tokens[i - 1]));
}

void sherd_curve_add(struct sherd_curve *c, int tokens, double us)
{
	if (c->n == SHERD_CURVE_POINTS)
		return;
	c->tokens[c->n] = tokens;
	c->us[c->n++] = us;
}

/* ------------------------------------------------------------------- names */

bool sherd_node_name_ok(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t n = strspn(name, letters);

	return n && !name[n] && n < SHERD_NAME_MAX && name[0] != '.' && name[0] != '-' &&
	       strcmp(name, "head");
}

void sherd_json_node_name(const struct sherd_json_at *at, char name[SHERD_NAME_MAX])
{
	sherd_json_str(at, name, SHERD_NAME_MAX);
	if (!at->file->rc && !sherd_node_name_ok(name))
		sherd_json_fail(at,
				"\"%s\" can't be a node's name: letters, digits, '.', '_' and '-', "
				"beginning with a letter or digit, and not \"head\"",
				name);
}

const char *sherd_bits_name(int bits)
{
	return bits == 4 ? "4" : bits == 8 ? "8" : "file";
}

const struct sherd_profile_width *sherd_profile_width(const struct sherd_profile *p, int bits)
{
	for (int i = 0; i < p->n_widths; i++)
		if (p->widths[i].bits == bits)
			return &p->widths[i];
	return NULL;
}

/* ----------------------------------------------------------------- reading */

/* [[tokens, us], ...] */
static void read_curve(const struct sherd_json_at *at, struct sherd_curve *c)
{
	size_t n = sherd_json_array(at, 1, SHERD_CURVE_POINTS);

	for (size_t i = 0; i < n; i++) {
		struct sherd_json_at point = sherd_json_elem(at, i), tokens, us;

		sherd_json_array(&point, 2, 2);
		tokens = sherd_json_elem(&point, 0);
		us = sherd_json_elem(&point, 1);
		c->tokens[i] = (int)sherd_json_int(&tokens, 1, 1 << 20);
		c->us[i] = sherd_json_num(&us, 0, MAX_US);
		if (i && c->tokens[i] <= c->tokens[i - 1])
			sherd_json_fail(&tokens, "is %d after %d: tokens must rise", c->tokens[i],
					c->tokens[i - 1]);
	}
	c->n = (int)n;
}

static void read_key_curve(const struct sherd_json_at *at, const char *key, struct sherd_curve *c)
{
	struct sherd_json_at curve = sherd_json_key(at, key);

	read_curve(&curve, c);
}

/* [[first, end], ...]: whose kind is @kind. */
static void read_spans(const struct sherd_json_at *at, uint8_t *kind_of, bool *known, int n_layers,
		       uint8_t kind)
{
	size_t n = sherd_json_array(at, 1, SHERD_PLAN_LAYERS);

	for (size_t i = 0; i < n; i++) {
		struct sherd_json_at span = sherd_json_elem(at, i), first_at, end_at;
		int first, end;

		sherd_json_array(&span, 2, 2);
		first_at = sherd_json_elem(&span, 0);
		end_at = sherd_json_elem(&span, 1);
		first = (int)sherd_json_int(&first_at, 0, n_layers - 1);
		end = (int)sherd_json_int(&end_at, first + 1, n_layers);
		for (int l = first; l < end && !at->file->rc; l++) {
			if (known[l])
				sherd_json_fail(&span, "layer %d has a kind already", l);
			known[l] = true;
			kind_of[l] = kind;
		}
	}
}

static void read_kind(const struct sherd_json_at *at, struct sherd_profile_width *w, bool *known,
		      int n_layers, uint8_t kind)
{
	static const char *const keys[] = { "format", "layers", "us", NULL };
	struct sherd_json_at format, spans;

	if (!sherd_json_keys(at, keys))
		return;
	format = sherd_json_key(at, "format");
	spans = sherd_json_key(at, "layers");
	if (format.j)
		sherd_json_str(&format, w->kinds[kind].format, sizeof(w->kinds[kind].format));
	read_spans(&spans, w->kind_of, known, n_layers, kind);
	read_key_curve(at, "us", &w->kinds[kind].us);
}

static void read_kinds(const struct sherd_json_at *at, struct sherd_profile_width *w, int n_layers)
{
	bool known[SHERD_PLAN_LAYERS] = { false };
	size_t n = sherd_json_array(at, 1, MIN(SHERD_PROFILE_KINDS, n_layers));

	if (!n)
		return;
	w->kinds = sherd_calloc(n, sizeof(*w->kinds));
	w->kind_of = sherd_calloc((size_t)n_layers, sizeof(*w->kind_of));
	if (!w->kinds || !w->kind_of) {
		sherd_json_fail(at, "no memory for %zu kinds of layers", n);
		return;
	}
	w->n_kinds = (int)n;
	for (size_t i = 0; i < n; i++) {
		struct sherd_json_at kind = sherd_json_elem(at, i);

		read_kind(&kind, w, known, n_layers, (uint8_t)i);
	}
	for (int l = 0; l < n_layers; l++)
		if (!known[l])
			sherd_json_fail(at, "layer %d of %d is of no kind", l, n_layers);
}

static void read_width(const struct sherd_json_at *at, struct sherd_profile_width *w, int n_layers)
{
	static const char *const keys[] = { "step", "embed", "output", "kinds", NULL };
	struct sherd_json_at kinds;

	if (!sherd_json_keys(at, keys))
		return;
	read_key_curve(at, "step", &w->step);
	read_key_curve(at, "embed", &w->embed);
	read_key_curve(at, "output", &w->output);
	kinds = sherd_json_key(at, "kinds");
	read_kinds(&kinds, w, n_layers);
}

static void read_widths(const struct sherd_json_at *at, struct sherd_profile *p)
{
	static const char *const keys[] = { "file", "4", "8", NULL };
	static const int bits[] = { 0, 4, 8 };

	if (!sherd_json_keys(at, keys))
		return;
	p->widths = sherd_calloc(ARRAY_SIZE(bits), sizeof(*p->widths));
	if (!p->widths)
		sherd_json_fail(at, "no memory for it");
	for (size_t i = 0; i < ARRAY_SIZE(bits) && p->widths; i++) {
		struct sherd_json_at width = sherd_json_key(at, keys[i]);

		if (!width.j)
			continue;
		p->widths[p->n_widths].bits = bits[i];
		read_width(&width, &p->widths[p->n_widths++], p->n_layers);
	}
	if (!p->n_widths)
		sherd_json_fail(at, "holds no measurement");
}

static void read_model(const struct sherd_json_at *at, struct sherd_profile *p)
{
	static const char *const keys[] = { "name", "hash", "n_layers", "hidden", NULL };
	struct sherd_json_at name, hash, n_layers, hidden;

	if (!sherd_json_keys(at, keys))
		return;
	name = sherd_json_key(at, "name");
	hash = sherd_json_key(at, "hash");
	n_layers = sherd_json_key(at, "n_layers");
	hidden = sherd_json_key(at, "hidden");
	if (name.j)
		sherd_json_str(&name, p->model_name, sizeof(p->model_name));
	sherd_json_hash(&hash, p->model_hash);
	p->n_layers = (int)sherd_json_int(&n_layers, 1, SHERD_PLAN_LAYERS);
	p->hidden = (int)sherd_json_int(&hidden, 1, 1 << 24);
}

static void read_memory(const struct sherd_json_at *at, struct sherd_profile *p)
{
	static const char *const keys[] = { "total", "available", NULL };
	struct sherd_json_at total, available;

	if (!sherd_json_keys(at, keys))
		return;
	total = sherd_json_key(at, "total");
	available = sherd_json_key(at, "available");
	p->memory_total = (uint64_t)sherd_json_int(&total, 1, MAX_BYTES);
	p->memory_available = (uint64_t)sherd_json_int(&available, 0, (int64_t)p->memory_total);
}

static void read_profile(const struct sherd_json_at *at, struct sherd_profile *p)
{
	static const char *const keys[] = { "sherd_profile", "node",   "device", "bit_profile",
					    "model",	     "memory", "bits",	 NULL };
	struct sherd_json_at v, part;

	if (!sherd_json_keys(at, keys))
		return;
	v = sherd_json_key(at, "sherd_profile");
	sherd_json_int(&v, VERSION, VERSION);
	v = sherd_json_key(at, "node");
	if (v.j)
		sherd_json_node_name(&v, p->node);
	v = sherd_json_key(at, "device");
	sherd_json_str(&v, p->device, sizeof(p->device));
	v = sherd_json_key(at, "bit_profile");
	sherd_json_str(&v, p->bit_profile, sizeof(p->bit_profile));
	part = sherd_json_key(at, "model");
	read_model(&part, p);
	part = sherd_json_key(at, "memory");
	read_memory(&part, p);
	part = sherd_json_key(at, "bits");
	read_widths(&part, p);
}

struct sherd_profile *sherd_profile_from_json(const struct sherd_json_at *at)
{
	struct sherd_profile *p = sherd_calloc(1, sizeof(*p));

	if (!p)
		sherd_json_fail(at, "no memory for a profile");
	else
		read_profile(at, p);
	if (!at->file->rc)
		return p;
	sherd_profile_free(p);
	return NULL;
}

int sherd_profile_read(struct sherd_profile **p, const char *path, struct sherd_error *err)
{
	struct sherd_json_at root;
	struct sherd_json f;
	int rc = sherd_json_open(&f, path, err);

	*p = NULL;
	if (rc)
		return rc;
	root = sherd_json_root(&f);
	*p = sherd_profile_from_json(&root);
	return sherd_json_close(&f);
}

void sherd_profile_free(struct sherd_profile *p)
{
	for (int i = 0; p && i < p->n_widths; i++) {
		free(p->widths[i].kinds);
		free(p->widths[i].kind_of);
	}
	if (p)
		free(p->widths);
	free(p);
}

/* ----------------------------------------------------------------- writing */

static json_t *write_curve(const struct sherd_curve *c)
{
	json_t *j = json_array();

	for (int i = 0; i < c->n; i++)
		json_array_append_new(j, json_pack("[if]", c->tokens[i], c->us[i]));
	return j;
}

static json_t *write_spans(const uint8_t *kind_of, int n_layers, int kind)
{
	json_t *j = json_array();
	int first, end;

	for (first = 0; first < n_layers; first = end) {
		end = first + 1;
		if (kind_of[first] != kind)
			continue;
		while (end < n_layers && kind_of[end] == kind)
			end++;
		json_array_append_new(j, json_pack("[ii]", first, end));
	}
	return j;
}

static json_t *write_width(const struct sherd_profile_width *w, int n_layers)
{
	json_t *kinds = json_array();

	for (int i = 0; i < w->n_kinds; i++) {
		const char *format = w->kinds[i].format[0] ? w->kinds[i].format : NULL;

		json_array_append_new(kinds, json_pack("{ss* so so}", "format", format, "layers",
						       write_spans(w->kind_of, n_layers, i), "us",
						       write_curve(&w->kinds[i].us)));
	}
	return json_pack("{so so so so}", "step", write_curve(&w->step), "embed",
			 write_curve(&w->embed), "output", write_curve(&w->output), "kinds", kinds);
}

json_t *sherd_profile_to_json(const struct sherd_profile *p)
{
	json_t *bits = json_object();

	for (int i = 0; i < p->n_widths; i++)
		json_object_set_new(bits, sherd_bits_name(p->widths[i].bits),
				    write_width(&p->widths[i], p->n_layers));
	return json_pack("{si ss* ss ss s{ss* ss si si} s{sI sI} so}", "sherd_profile", VERSION,
			 "node", p->node[0] ? p->node : NULL, "device", p->device, "bit_profile",
			 p->bit_profile, "model", "name", p->model_name[0] ? p->model_name : NULL,
			 "hash", p->model_hash, "n_layers", p->n_layers, "hidden", p->hidden,
			 "memory", "total", (json_int_t)p->memory_total, "available",
			 (json_int_t)p->memory_available, "bits", bits);
}
