/* SPDX-License-Identifier: MIT */
/*
 * plan: reads and writes plan.json. A plan tells nodes what to load and the head whom to trust with
 * what, so nothing in it is taken on faith: layers without a stage, or with two, are refused here.
 */
#include "plan/plan.h"

#include <stdlib.h>

#define VERSION 1
#define MAX_MS	1e9

const char *const sherd_wire_names[3] = { "int8", "f16", "f32" };
const char *const sherd_kv_names[3] = { "f16", "int8", "f32" };
const char *const sherd_objective_names[2] = { "latency", "throughput" };
static const char *const bits_names[] = { "file", "4", "8" };
static const int bits_of[] = { 0, 4, 8 };

/* ----------------------------------------------------------------- reading */

static void read_model(const struct sherd_json_at *at, struct sherd_plan *p)
{
	static const char *const keys[] = { "name",   "path", "hash", "arch", "n_layers",
					    "hidden", "bits", NULL };
	struct sherd_json_at v;

	if (!sherd_json_keys(at, keys))
		return;
	v = sherd_json_key(at, "name");
	if (v.j)
		sherd_json_str(&v, p->model_name, sizeof(p->model_name));
	v = sherd_json_key(at, "path");
	if (v.j)
		sherd_json_str(&v, p->model_path, sizeof(p->model_path));
	v = sherd_json_key(at, "hash");
	sherd_json_hash(&v, p->model_hash);
	v = sherd_json_key(at, "arch");
	sherd_json_str(&v, p->arch, sizeof(p->arch));
	v = sherd_json_key(at, "n_layers");
	p->n_layers = (int)sherd_json_int(&v, 1, SHERD_PLAN_LAYERS);
	v = sherd_json_key(at, "hidden");
	p->hidden = (int)sherd_json_int(&v, 1, 1 << 24);
	v = sherd_json_key(at, "bits");
	p->bits = bits_of[sherd_json_pick(&v, bits_names, ARRAY_SIZE(bits_names))];
}

static void read_node(const struct sherd_json_at *at, struct sherd_plan *p, const char *name)
{
	static const char *const keys[] = { "address", "memory_bytes", NULL };
	struct sherd_plan_node *n = &p->nodes[p->n_nodes];
	struct sherd_json_at v;

	if (!sherd_node_name_ok(name))
		sherd_json_fail(at, "\"%s\" can't be a node's name", name);
	if (!sherd_json_keys(at, keys))
		return;
	memcpy(n->name, name, strlen(name) + 1);
	v = sherd_json_key(at, "address");
	sherd_json_address(&v, n->address);
	v = sherd_json_key(at, "memory_bytes");
	if (v.j)
		n->memory = (uint64_t)sherd_json_int(&v, 1, (int64_t)1 << 50);
	for (int i = 0; i < p->n_nodes; i++)
		if (!strcmp(n->address, p->nodes[i].address))
			sherd_json_fail(at, "has the address %s of node \"%s\"", n->address,
					p->nodes[i].name);
	p->n_nodes++;
}

static void read_nodes(const struct sherd_json_at *at, struct sherd_plan *p)
{
	const char *name;
	json_t *value;

	if (!json_is_object(at->j) || !json_object_size(at->j) ||
	    json_object_size(at->j) > SHERD_CLUSTER_NODES) {
		sherd_json_fail(at, "an object of 1 to %d nodes is needed", SHERD_CLUSTER_NODES);
		return;
	}
	json_object_foreach((json_t *)at->j, name, value) {
		struct sherd_json_at node = sherd_json_key(at, name);

		if (!at->file->rc)
			read_node(&node, p, name);
	}
}

static int read_node_ref(const struct sherd_json_at *at, const struct sherd_plan *p)
{
	struct sherd_json_at v = sherd_json_key(at, "node");
	char name[SHERD_NAME_MAX];

	sherd_json_node_name(&v, name);
	for (int i = 0; i < p->n_nodes; i++)
		if (!strcmp(name, p->nodes[i].name))
			return i;
	sherd_json_fail(&v, "\"%s\" is not among the plan's nodes", name);
	return 0;
}

static void read_stage(const struct sherd_json_at *at, struct sherd_plan *p)
{
	static const char *const keys[] = { "node", "first", "end", NULL };
	struct sherd_stage_span *s = &p->stages[p->n_stages];
	int from = p->n_stages ? s[-1].end : 0;
	struct sherd_json_at v;

	if (!sherd_json_keys(at, keys))
		return;
	s->node = read_node_ref(at, p);
	v = sherd_json_key(at, "first");
	s->first = (int)sherd_json_int(&v, 0, p->n_layers);
	if (s->first != from)
		sherd_json_fail(
			&v,
			"is %d where layer %d is next: stages have all layers, each once and "
			"in order",
			s->first, from);
	v = sherd_json_key(at, "end");
	s->end = (int)sherd_json_int(&v, s->first + 1, p->n_layers);
	for (int i = 0; i < p->n_stages; i++)
		if (p->stages[i].node == s->node)
			sherd_json_fail(at, "node \"%s\" has stage %d already",
					p->nodes[s->node].name, i);
	p->n_stages++;
}

static void read_stages(const struct sherd_json_at *at, struct sherd_plan *p)
{
	size_t n = sherd_json_array(at, 1, (size_t)MIN(SHERD_CLUSTER_NODES, p->n_layers));

	for (size_t i = 0; i < n && !at->file->rc; i++) {
		struct sherd_json_at stage = sherd_json_elem(at, i);

		read_stage(&stage, p);
	}
	if (!at->file->rc && p->stages[p->n_stages - 1].end != p->n_layers)
		sherd_json_fail(at, "layers %d to %d have no stage", p->stages[p->n_stages - 1].end,
				p->n_layers - 1);
}

/* Which stage's span it is. */
static uint64_t read_span(const struct sherd_json_at *at, const struct sherd_plan *p)
{
	struct sherd_json_at a = sherd_json_elem(at, 0), b = sherd_json_elem(at, 1);
	int first, end;

	sherd_json_array(at, 2, 2);
	first = (int)sherd_json_int(&a, 0, p->n_layers - 1);
	end = (int)sherd_json_int(&b, first + 1, p->n_layers);
	for (int i = 0; i < p->n_stages; i++)
		if (p->stages[i].first == first && p->stages[i].end == end)
			return (uint64_t)1 << i;
	sherd_json_fail(at, "layers %d to %d are no stage", first, end - 1);
	return 0;
}

static void read_spare(const struct sherd_json_at *at, struct sherd_plan *p)
{
	static const char *const keys[] = { "node", "spans", NULL };
	struct sherd_plan_spare *s = &p->spares[p->n_spares];
	struct sherd_json_at spans;
	size_t n;

	if (!sherd_json_keys(at, keys))
		return;
	s->node = read_node_ref(at, p);
	for (int i = 0; i < p->n_spares; i++)
		if (p->spares[i].node == s->node)
			sherd_json_fail(at, "node \"%s\" is a spare already",
					p->nodes[s->node].name);
	spans = sherd_json_key(at, "spans");
	n = sherd_json_array(&spans, 1, (size_t)p->n_stages);
	for (size_t i = 0; i < n; i++) {
		struct sherd_json_at span = sherd_json_elem(&spans, i);
		uint64_t stage = read_span(&span, p);

		if (s->stages & stage)
			sherd_json_fail(&span, "is there twice");
		s->stages |= stage;
	}
	p->n_spares++;
}

static void read_spares(const struct sherd_json_at *at, struct sherd_plan *p)
{
	size_t n = at->j ? sherd_json_array(at, 0, (size_t)p->n_nodes) : 0;

	for (size_t i = 0; i < n && !at->file->rc; i++) {
		struct sherd_json_at spare = sherd_json_elem(at, i);

		read_spare(&spare, p);
	}
}

static double read_number(const struct sherd_json_at *at, const char *key)
{
	struct sherd_json_at v = sherd_json_key(at, key);

	return sherd_json_num(&v, 0, MAX_MS);
}

static void read_predicted(const struct sherd_json_at *at, struct sherd_plan *p)
{
	static const char *const keys[] = { "objective",    "prompt_tokens", "first_token_ms",
					    "tokens_per_s", "per_stage",     NULL };
	static const char *const stage_keys[] = { "chunk_ms", "token_ms", "link_ms", "busy", NULL };
	struct sherd_plan_predicted *d = &p->predicted;
	struct sherd_json_at v, stage;
	size_t n;

	if (!at->j || !sherd_json_keys(at, keys))
		return;
	d->known = true;
	v = sherd_json_key(at, "objective");
	d->objective = (enum sherd_objective)sherd_json_pick(&v, sherd_objective_names, 2);
	v = sherd_json_key(at, "prompt_tokens");
	d->n_prompt = (int)sherd_json_int(&v, 1, 1 << 24);
	d->first_token_ms = read_number(at, "first_token_ms");
	d->tokens_per_s = read_number(at, "tokens_per_s");
	v = sherd_json_key(at, "per_stage");
	n = sherd_json_array(&v, (size_t)p->n_stages, (size_t)p->n_stages);
	for (size_t i = 0; i < n; i++) {
		stage = sherd_json_elem(&v, i);
		if (!sherd_json_keys(&stage, stage_keys))
			return;
		d->stage[i].chunk_ms = read_number(&stage, "chunk_ms");
		d->stage[i].token_ms = read_number(&stage, "token_ms");
		d->stage[i].link_ms = read_number(&stage, "link_ms");
		d->stage[i].busy = read_number(&stage, "busy");
	}
}

static void read_numbers(const struct sherd_json_at *at, struct sherd_plan *p)
{
	struct sherd_json_at v = sherd_json_key(at, "sherd_plan");

	sherd_json_int(&v, VERSION, VERSION);
	v = sherd_json_key(at, "wire");
	p->wire = (enum sherd_wire)sherd_json_pick(&v, sherd_wire_names, 3);
	v = sherd_json_key(at, "kv");
	p->kv = (enum sherd_kv_type)sherd_json_pick(&v, sherd_kv_names, 3);
	v = sherd_json_key(at, "n_ctx");
	p->n_ctx = (int)sherd_json_int(&v, 1, 1 << 24);
	v = sherd_json_key(at, "n_sessions");
	p->n_sessions = (int)sherd_json_int(&v, 1, SHERD_STEP_MAX);
	v = sherd_json_key(at, "chunk");
	p->chunk = (int)sherd_json_int(&v, 1, SHERD_STEP_MAX);
}

/* Another of our files, which "there is no key" would not tell. */
static void check_kind(const struct sherd_json_at *at)
{
	if (!json_object_get(at->j, "sherd_plan") &&
	    (json_is_array(json_object_get(at->j, "nodes")) ||
	     json_object_get(at->j, "sherd_profile")))
		sherd_json_fail(at, "is no plan (sherd plan -o writes one)");
}

static void read_plan(const struct sherd_json_at *at, struct sherd_plan *p)
{
	static const char *const keys[] = { "sherd_plan", "model", "wire",   "kv",     "n_ctx",
					    "n_sessions", "chunk", "nodes",  "stages", "spares",
					    "predicted",  NULL };
	static const struct {
		const char *key;
		void (*read)(const struct sherd_json_at *at, struct sherd_plan *p);
	} parts[] = { { "model", read_model },
		      { "nodes", read_nodes },
		      { "stages", read_stages },
		      { "spares", read_spares },
		      { "predicted", read_predicted } };

	check_kind(at);
	if (!sherd_json_keys(at, keys))
		return;
	read_numbers(at, p);
	for (size_t i = 0; i < ARRAY_SIZE(parts) && !at->file->rc; i++) {
		struct sherd_json_at part = sherd_json_key(at, parts[i].key);

		parts[i].read(&part, p);
	}
}

static int read_file(struct sherd_plan **out, struct sherd_json *f)
{
	struct sherd_plan *p = sherd_calloc(1, sizeof(*p));
	struct sherd_json_at root = sherd_json_root(f);
	int rc;

	if (p)
		read_plan(&root, p);
	else
		sherd_json_fail(&root, "no memory for a plan");
	rc = sherd_json_close(f);
	if (rc)
		free(p);
	else
		*out = p;
	return rc;
}

int sherd_plan_parse(struct sherd_plan **p, const char *text, size_t size, const char *name,
		     struct sherd_error *err)
{
	struct sherd_json f;
	int rc = sherd_json_parse(&f, text, size, name, err);

	*p = NULL;
	return rc ? rc : read_file(p, &f);
}

int sherd_plan_read(struct sherd_plan **p, const char *path, struct sherd_error *err)
{
	struct sherd_json f;
	int rc = sherd_json_open(&f, path, err);

	*p = NULL;
	return rc ? rc : read_file(p, &f);
}

/* ----------------------------------------------------------------- writing */

static json_t *write_nodes(const struct sherd_plan *p)
{
	json_t *j = json_object();

	for (int i = 0; i < p->n_nodes; i++) {
		const struct sherd_plan_node *n = &p->nodes[i];

		json_object_set_new(j, n->name, json_pack("{ss}", "address", n->address));
		if (n->memory)
			json_object_set_new(json_object_get(j, n->name), "memory_bytes",
					    json_integer((json_int_t)n->memory));
	}
	return j;
}

static json_t *write_stages(const struct sherd_plan *p)
{
	json_t *j = json_array();

	for (int i = 0; i < p->n_stages; i++)
		json_array_append_new(j, json_pack("{ss si si}", "node",
						   p->nodes[p->stages[i].node].name, "first",
						   p->stages[i].first, "end", p->stages[i].end));
	return j;
}

static json_t *write_spares(const struct sherd_plan *p)
{
	json_t *j = json_array();

	for (int i = 0; i < p->n_spares; i++) {
		json_t *spans = json_array();

		for (int k = 0; k < p->n_stages; k++)
			if (p->spares[i].stages >> k & 1)
				json_array_append_new(spans, json_pack("[ii]", p->stages[k].first,
								       p->stages[k].end));
		json_array_append_new(j,
				      json_pack("{ss so}", "node", p->nodes[p->spares[i].node].name,
						"spans", spans));
	}
	return j;
}

static json_t *write_predicted(const struct sherd_plan *p)
{
	const struct sherd_plan_predicted *d = &p->predicted;
	json_t *stages = json_array();

	for (int i = 0; i < p->n_stages; i++)
		json_array_append_new(stages,
				      json_pack("{sf sf sf sf}", "chunk_ms", d->stage[i].chunk_ms,
						"token_ms", d->stage[i].token_ms, "link_ms",
						d->stage[i].link_ms, "busy", d->stage[i].busy));
	return json_pack("{ss si sf sf so}", "objective", sherd_objective_names[d->objective],
			 "prompt_tokens", d->n_prompt, "first_token_ms", d->first_token_ms,
			 "tokens_per_s", d->tokens_per_s, "per_stage", stages);
}

static json_t *write_model(const struct sherd_plan *p)
{
	return json_pack("{ss* ss* ss ss si si ss}", "name",
			 p->model_name[0] ? p->model_name : NULL, "path",
			 p->model_path[0] ? p->model_path : NULL, "hash", p->model_hash, "arch",
			 p->arch, "n_layers", p->n_layers, "hidden", p->hidden, "bits",
			 sherd_bits_name(p->bits));
}

json_t *sherd_plan_to_json(const struct sherd_plan *p)
{
	return json_pack("{si so ss ss si si si so so so so*}", "sherd_plan", VERSION, "model",
			 write_model(p), "wire", sherd_wire_names[p->wire], "kv",
			 sherd_kv_names[p->kv], "n_ctx", p->n_ctx, "n_sessions", p->n_sessions,
			 "chunk", p->chunk, "nodes", write_nodes(p), "stages", write_stages(p),
			 "spares", write_spares(p), "predicted",
			 p->predicted.known ? write_predicted(p) : NULL);
}

int sherd_plan_write(const struct sherd_plan *p, const char *path, struct sherd_error *err)
{
	return sherd_json_write(sherd_plan_to_json(p), path, err);
}

int sherd_plan_cuts(const struct sherd_plan *p, int cuts[SHERD_CLUSTER_NODES])
{
	for (int i = 1; i < p->n_stages; i++)
		cuts[i - 1] = p->stages[i].first;
	return p->n_stages - 1;
}
