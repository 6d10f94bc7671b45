/* SPDX-License-Identifier: MIT */
/*
 * probe: which layers stand for all, and how they are asked for.
 *
 * Two layers tell what a step costs by itself (profile.c), but the error of that is multiplied by
 * all other layers: so windows are longer where layers are small, and a small model is one window.
 */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include "profile.h"
#include "store.h"

#define WINDOW_BYTES (16u << 20) /* weights of a window, as far as two layers do not take more */
/* the first window goes on until another layer is like the first, but no longer */
#define EMBED_LAYERS 8

/* ---------------------------------------------------------------- choosing */

static int first_end(const struct sherd_sizes *z)
{
	uint64_t bytes = 0;
	bool like = false;
	int end = 0;

	while (end < z->n_layers && (end < 2 || bytes + z->layer[end] <= WINDOW_BYTES ||
				     (!like && end < EMBED_LAYERS))) {
		like |= end && z->kind_of[end] == z->kind_of[0];
		bytes += z->layer[end++];
	}
	return end;
}

static int last_first(const struct sherd_sizes *z)
{
	int first = z->n_layers;
	uint64_t bytes = 0;

	while (first > 0 &&
	       (first > z->n_layers - 2 || bytes + z->layer[first - 1] <= WINDOW_BYTES))
		bytes += z->layer[--first];
	return first;
}

static bool shown(const struct probe *p, int kind)
{
	for (int i = 0; i < p->n_windows; i++)
		for (int l = p->windows[i].first; l < p->windows[i].end; l++)
			if (p->sizes->kind_of[l] == kind)
				return true;
	return false;
}

void probe_choose(struct probe *p, struct sherd_sizes *z)
{
	int end = first_end(z), first = last_first(z), n = z->n_layers;
	uint64_t most = 0;

	*p = (struct probe){ .sizes = z, .n_ctx = MIN(z->n_ctx_train, PROFILE_CTX) };
	if (end >= first) {
		p->windows[p->n_windows++] = (struct probe_window){ 0, n };
		return;
	}
	p->windows[p->n_windows++] = (struct probe_window){ 0, end };
	p->windows[p->n_windows++] = (struct probe_window){ first, n };
	for (int l = end; l < first; l++)
		if (!shown(p, z->kind_of[l]))
			p->windows[p->n_windows++] =
				(struct probe_window){ MIN(l, n - 2), MIN(l, n - 2) + 2 };
	for (int i = 0; i < p->n_windows; i++) {
		uint64_t bytes = 0;

		for (int l = p->windows[i].first; l < p->windows[i].end; l++)
			bytes += z->layer[l];
		most = MAX(most, bytes);
	}
	for (int l = 0; l < n; l++)
		p->others += z->layer[l];
	p->others -= most;
}

/* -------------------------------------------------------------------- JSON */

static json_t *kinds_json(const struct sherd_sizes *z)
{
	json_t *j = json_array();

	for (int i = 0; i < z->n_kinds; i++)
		json_array_append_new(j, json_string(z->format[i]));
	return j;
}

json_t *probe_to_json(const struct probe *p, bool key)
{
	const struct sherd_sizes *z = p->sizes;
	json_t *j, *windows = json_array(), *kind_of = json_array();

	for (int i = 0; i < p->n_windows; i++)
		json_array_append_new(windows,
				      json_pack("[ii]", p->windows[i].first, p->windows[i].end));
	for (int l = 0; l < z->n_layers; l++)
		json_array_append_new(kind_of, json_integer(z->kind_of[l]));
	j = json_pack("{ss ss si si ss so so so si si sI}", "name", z->name[0] ? z->name : "model",
		      "hash", z->hash, "n_layers", z->n_layers, "hidden", z->hidden, "bits",
		      sherd_bits_name(z->bits), "kinds", kinds_json(z), "kind_of", kind_of,
		      "windows", windows, "kv", (int)p->kv, "n_ctx", p->n_ctx, "others",
		      (json_int_t)p->others);
	if (key || !j)
		return j;
	json_object_set_new(j, "seconds", json_real(p->seconds));
	json_object_set_new(j, "again", json_boolean(p->again));
	return j;
}

static int int_at(const struct sherd_json_at *at, const char *key, int64_t lo, int64_t hi)
{
	struct sherd_json_at v = sherd_json_key(at, key);

	return (int)sherd_json_int(&v, lo, hi);
}

static void read_kinds(const struct sherd_json_at *root, struct sherd_sizes *z)
{
	struct sherd_json_at kinds = sherd_json_key(root, "kinds"),
			     of = sherd_json_key(root, "kind_of"), v;

	z->n_kinds = (int)sherd_json_array(&kinds, 1, SHERD_PROFILE_KINDS);
	sherd_json_array(&of, (size_t)z->n_layers, (size_t)z->n_layers);
	z->kind_of = sherd_calloc((size_t)z->n_layers + 1, sizeof(*z->kind_of));
	z->format = sherd_calloc((size_t)z->n_kinds + 1, sizeof(*z->format));
	if (!z->kind_of || !z->format) {
		sherd_json_fail(root, "no memory for it");
		return;
	}
	for (int i = 0; i < z->n_kinds; i++) {
		v = sherd_json_elem(&kinds, (size_t)i);
		sherd_json_str(&v, z->format[i], sizeof(z->format[i]));
	}
	for (int l = 0; l < z->n_layers && !root->file->rc; l++) {
		v = sherd_json_elem(&of, (size_t)l);
		z->kind_of[l] = (uint8_t)sherd_json_int(&v, 0, z->n_kinds - 1);
	}
}

static void read_windows(const struct sherd_json_at *root, struct probe *p)
{
	struct sherd_json_at windows = sherd_json_key(root, "windows"), window, v;
	int n = p->sizes->n_layers;

	p->n_windows = (int)sherd_json_array(&windows, 1, PROBE_WINDOWS);
	for (int i = 0; i < p->n_windows; i++) {
		window = sherd_json_elem(&windows, (size_t)i);
		sherd_json_array(&window, 2, 2);
		v = sherd_json_elem(&window, 0);
		p->windows[i].first = (int)sherd_json_int(&v, 0, n - 1);
		v = sherd_json_elem(&window, 1);
		p->windows[i].end = (int)sherd_json_int(&v, p->windows[i].first + 1, n);
	}
	for (int k = 0; k < p->sizes->n_kinds && !root->file->rc; k++)
		if (!shown(p, k))
			sherd_json_fail(&windows, "show no layer of kind %d", k);
	if (!root->file->rc &&
	    (p->windows[0].first || p->windows[MIN(1, p->n_windows - 1)].end != n))
		sherd_json_fail(&windows, "do not begin with the first layers and the last");
}

static void read_probe(const struct sherd_json_at *root, struct probe *p)
{
	static const char *const keys[] = { "name",    "hash",	  "n_layers", "hidden", "bits",
					    "kinds",   "kind_of", "windows",  "kv",	"n_ctx",
					    "others",  "seconds", "again",    NULL };
	static const char *const bits[] = { "file", "4", "8" };
	struct sherd_json_at name = sherd_json_key(root, "name"),
			     hash = sherd_json_key(root, "hash"), v;
	struct sherd_sizes *z = p->sizes;

	sherd_json_keys(root, keys);
	sherd_json_str(&name, z->name, sizeof(z->name));
	sherd_json_hash(&hash, z->hash);
	z->n_layers = int_at(root, "n_layers", 1, SHERD_PLAN_LAYERS);
	z->hidden = int_at(root, "hidden", 1, 1 << 24);
	v = sherd_json_key(root, "bits");
	z->bits = 4 * sherd_json_pick(&v, bits, ARRAY_SIZE(bits));
	p->kv = (enum sherd_kv_type)int_at(root, "kv", 0, SHERD_KV_F32);
	p->n_ctx = int_at(root, "n_ctx", 1, PROFILE_CTX);
	v = sherd_json_key(root, "others");
	p->others = (uint64_t)sherd_json_int(&v, 0, (int64_t)1 << 50);
	v = sherd_json_key(root, "seconds");
	p->seconds = sherd_json_num(&v, 0.1, 3600);
	v = sherd_json_key(root, "again");
	p->again = json_is_true(v.j);
	if (!json_is_boolean(v.j))
		sherd_json_fail(&v, "is neither true nor false");
	if (!root->file->rc)
		read_kinds(root, z);
	if (!root->file->rc)
		read_windows(root, p);
}

int probe_parse(struct probe *p, const char *text, struct sherd_error *err)
{
	struct sherd_json_at root;
	struct sherd_json f;
	int rc = sherd_json_parse(&f, text, strlen(text), "what is to be measured", err);

	*p = (struct probe){ 0 };
	if (rc)
		return rc;
	p->sizes = sherd_calloc(1, sizeof(*p->sizes));
	root = sherd_json_root(&f);
	if (p->sizes)
		read_probe(&root, p);
	else
		sherd_json_fail(&root, "no memory for it");
	rc = sherd_json_close(&f);
	if (rc) {
		sherd_sizes_free(p->sizes);
		p->sizes = NULL;
	}
	return rc;
}

/* ------------------------------------------------------------------- files */

struct sherd_stage_spec probe_spec(const struct probe *p, int window)
{
	struct sherd_stage_spec spec = { .bits = p->sizes->bits, .first = p->windows[window].first,
					 .end = p->windows[window].end };

	memcpy(spec.model, p->sizes->hash, sizeof(spec.model));
	return spec;
}

void probe_name(const struct probe *p, int window, char name[SHERD_FILE_NAME])
{
	const struct sherd_stage_spec spec = probe_spec(p, window);
	char file[SHERD_FILE_NAME];

	store_name(&spec, file);
	snprintf(name, SHERD_FILE_NAME, "probe-%.100s", file);
}
