/* SPDX-License-Identifier: MIT */
/*
 * pack_plan: decides what a shard will hold. Every slot of the architecture's layers is looked up
 * in the source, under the names that GGUF files use, and checked for type and shape; what the
 * architecture can't use is refused, since a weight silently left out gives wrong text.
 */
#include "model/pack.h"

#include <stdio.h>
#include <stdlib.h>

/* The slots that are several of a file's tensors, one after the other, unless it has them as one. */
static const struct stack {
	enum sherd_slot slot;
	const char *parts[SHERD_PACK_PARTS];
	const char *fused;
} stacks[] = {
	{ SHERD_ATTN_QKV,
	  { "attn_q.weight", "attn_k.weight", "attn_v.weight" },
	  "attn_qkv.weight" },
	{ SHERD_ATTN_QKV_BIAS, { "attn_q.bias", "attn_k.bias", "attn_v.bias" }, "attn_qkv.bias" },
	{ SHERD_FFN_GATE_UP, { "ffn_gate.weight", "ffn_up.weight" }, "ffn_up.weight" },
	{ SHERD_EXPERTS_GATE_UP, { "ffn_gate_exps.weight", "ffn_up_exps.weight" }, NULL },
	{ SHERD_SHARED_GATE_UP, { "ffn_gate_shexp.weight", "ffn_up_shexp.weight" }, NULL },
};

/* Old converters wrote these tables; readers compute them instead. */
static const char *const computed[] = { "attn_rot_embd.weight", "attn_rot_embd" };

static bool is_fused(const struct sherd_hparams *hp, enum sherd_slot slot)
{
	if (slot == SHERD_FFN_GATE_UP)
		return hp->arch->gate_up_fused;
	return (slot == SHERD_ATTN_QKV || slot == SHERD_ATTN_QKV_BIAS) && hp->arch->qkv_fused;
}

/*
 * The names in the file of what @slot has; a layer's follow "blk.N.".
 */
static int slot_sources(const struct sherd_hparams *hp, enum sherd_slot slot,
			const char *parts[SHERD_PACK_PARTS])
{
	size_t i;
	int n = 0;

	for (i = 0; i < ARRAY_SIZE(stacks); i++) {
		if (stacks[i].slot != slot)
			continue;
		if (is_fused(hp, slot)) {
			parts[0] = stacks[i].fused;
			return 1;
		}
		for (; n < SHERD_PACK_PARTS && stacks[i].parts[n]; n++)
			parts[n] = stacks[i].parts[n];
		return n;
	}
	parts[0] = sherd_slot_file_name(hp, slot);
	return 1;
}

static void source_name(enum sherd_slot slot, int layer, const char *part, char buf[64])
{
	if (slot < SHERD_FIRST_LAYER_SLOT)
		snprintf(buf, 64, "%s", part);
	else
		snprintf(buf, 64, "blk.%d.%s", layer, part);
}

/* ------------------------------------------------ names that nobody would read */

static bool slot_reads(const struct sherd_hparams *hp, enum sherd_slot slot, struct gguf_str name)
{
	const char *part[SHERD_PACK_PARTS];
	int n;

	if (sherd_slot_need(hp, slot, 0, hp->n_layers) == SHERD_SLOT_NEVER)
		return false;
	if (hp->arch->qkv_fused && slot >= SHERD_ATTN_Q && slot <= SHERD_ATTN_V)
		return false;
	if (hp->arch->gate_up_fused && (slot == SHERD_FFN_GATE || slot == SHERD_FFN_UP))
		return false;
	n = slot_sources(hp, slot, part);
	while (n--)
		if (gguf_str_eq(name, part[n]))
			return true;
	return false;
}

/* Takes "blk.N." off @name: N, or -1 where there is none; -2 where N is not a layer's number. */
static int strip_layer(struct gguf_str *name)
{
	size_t i = 4;
	int layer = 0;

	if (name->len < 4 || memcmp(name->data, "blk.", 4))
		return -1;
	while (i < name->len && name->data[i] >= '0' && name->data[i] <= '9' && layer < 1000000)
		layer = layer * 10 + (name->data[i++] - '0');
	if (i == 4 || i >= name->len || name->data[i] != '.')
		return -2;
	name->data += i + 1;
	name->len -= i + 1;
	return layer;
}

static bool ends_with(struct gguf_str s, const char *end)
{
	size_t n = strlen(end);

	return s.len >= n && !memcmp(s.data + s.len - n, end, n);
}

static bool is_used(const struct sherd_hparams *hp, struct gguf_str name)
{
	int layer = strip_layer(&name), slot, end;
	size_t i;

	slot = layer == -1 ? 0 : SHERD_FIRST_LAYER_SLOT;
	end = layer == -1 ? SHERD_FIRST_LAYER_SLOT : SHERD_N_SLOTS;
	if (layer == -2 || layer >= hp->n_layers)
		return false;
	for (; slot < end; slot++)
		if (slot_reads(hp, slot, name))
			return true;
	for (i = 0; i < ARRAY_SIZE(computed); i++)
		if (gguf_str_eq(name, computed[i]))
			return true;
	return layer == -1 && !ends_with(name, ".weight") && !ends_with(name, ".bias") &&
	       !ends_with(name, ".scale");
}

/* "blk.0.ffn_gate.3.weight": experts are stacks now. */
static bool is_split_expert(struct gguf_str name)
{
	int layer, expert;
	char text[64], part[8], end;

	snprintf(text, sizeof(text), "%.*s", (int)MIN(name.len, sizeof(text) - 1), name.data);
	return sscanf(text, "blk.%d.ffn_%7[a-z].%d.weigh%c", &layer, part, &expert, &end) == 4;
}

static int check_all_used(const struct sherd_pack_plan *plan, struct sherd_error *err)
{
	const struct gguf *g = plan->g;
	size_t i;

	for (i = 0; i < g->n_tensors; i++) {
		struct gguf_str name = g->tensors[i].name;

		if (plan->hp.n_experts && is_split_expert(name))
			return sherd_fail(
				err, -EOPNOTSUPP,
				"%s: tensor %.*s: a tensor an expert is how files were written "
				"before April 2024; convert the model anew",
				g->path, (int)MIN(name.len, 64u), name.data);
		if (!is_used(&plan->hp, name))
			return sherd_fail(
				err, -EOPNOTSUPP,
				"%s: tensor %.*s is no part of a %s model of %d layers as "
				"sherd knows it; leaving it out would give wrong results",
				g->path, (int)MIN(name.len, 64u), name.data, plan->hp.arch->name,
				plan->hp.n_layers);
	}
	return 0;
}

/* --------------------------------------------------------------- slot by slot */

static struct sherd_pack_item *new_item(struct sherd_pack_plan *plan, struct sherd_error *err)
{
	if (plan->n_items == plan->room) {
		size_t room = plan->room ? 2 * plan->room : 64;
		void *items = realloc(plan->items, room * sizeof(*plan->items));

		if (!items) {
			sherd_fail_oom(err, room * sizeof(*plan->items), "the plan of a shard");
			return NULL;
		}
		plan->items = items;
		plan->room = room;
	}
	memset(&plan->items[plan->n_items], 0, sizeof(*plan->items));
	return &plan->items[plan->n_items++];
}

/* Heads' weights are in files as rows, or as one vector: the bytes are the same. */
static bool is_row_a_head(const struct sherd_pack_plan *plan, enum sherd_slot slot)
{
	return plan->hp.qk_norm == SHERD_QK_EACH &&
	       (slot == SHERD_ATTN_Q_NORM || slot == SHERD_ATTN_K_NORM);
}

static int check_part(const struct sherd_pack_plan *plan, const struct gguf_tensor *t,
		      const char *name, enum sherd_slot slot, uint64_t rows, uint64_t cols,
		      struct sherd_error *err)
{
	const char *path = plan->g->path;
	bool vector = sherd_slot_is_vector(slot);
	uint64_t deep = sherd_slot_is_experts(slot) ? (uint64_t)plan->hp.n_experts : 1;

	if (slot == SHERD_TOKEN_TYPES) /* the first of its rows is read */
		rows = t->dims[1];
	if (is_row_a_head(plan, slot) && !t->view && t->dims[1] == cols / plan->hp.head_dim) {
		rows = t->dims[1];
		cols = plan->hp.head_dim;
	}
	if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != deep || t->dims[3] != 1)
		return sherd_fail(err, -EINVAL,
				  "%s: tensor %s is %llu x %llu x %llu x %llu, but the "
				  "hyper-parameters call for %llu x %llu x %llu",
				  path, name, (unsigned long long)t->dims[0],
				  (unsigned long long)t->dims[1], (unsigned long long)t->dims[2],
				  (unsigned long long)t->dims[3], (unsigned long long)cols,
				  (unsigned long long)rows, (unsigned long long)deep);
	if (!ggml_type_known(t->type) || t->type == GGML_I8)
		return sherd_fail(err, -EOPNOTSUPP,
				  "%s: tensor %s is of type %s, which sherd does not read; it "
				  "reads %s",
				  path, name, ggml_type_name(t->type), ggml_types_read());
	if (vector && !sherd_type_is_float(t->type))
		return sherd_fail(
			err, -EOPNOTSUPP,
			"%s: tensor %s is of type %s, but norms and biases must be F32, F16 "
			"or BF16",
			path, name, ggml_type_name(t->type));
	if (cols % ggml_block_size(t->type))
		return sherd_fail(
			err, -EINVAL,
			"%s: tensor %s has rows of %llu weights, no multiple of %s's block "
			"of %u",
			path, name, (unsigned long long)cols, ggml_type_name(t->type),
			ggml_block_size(t->type));
	return 0;
}

/* Looks up @part of @slot; *t is NULL where it is not there, which is for the caller to judge. */
static int find_part(const struct sherd_pack_plan *plan, enum sherd_slot slot, int layer,
		     const char *part, uint64_t rows, uint64_t cols, const struct gguf_tensor **t,
		     struct sherd_error *err)
{
	char name[64];

	source_name(slot, layer, part, name);
	*t = gguf_tensor(plan->g, name);
	if (!*t)
		return 0;
	return check_part(plan, *t, name, slot, rows, cols, err);
}

static int fail_missing(const struct sherd_pack_plan *plan, enum sherd_slot slot, int layer,
			const char *part, uint64_t rows, uint64_t cols, struct sherd_error *err)
{
	char name[64];

	source_name(slot, layer, part, name);
	return sherd_fail(err, -ENOENT,
			  "%s: tensor %s (%llu x %llu) is missing; a %s model can't do without it",
			  plan->g->path, name, (unsigned long long)cols, (unsigned long long)rows,
			  plan->hp.arch->name);
}

/* A router is small, and a choice is all or nothing: its floats stay. */
static int slot_bits(const struct sherd_pack_plan *plan, enum sherd_slot slot)
{
	return slot == SHERD_ROUTER || slot == SHERD_SHARED_SCORE ? 0 : plan->bits;
}

/* Rows of part @i of @n: q, k, v; gate, up; or all of them. */
static uint32_t part_rows(const struct sherd_hparams *hp, int i, int n, uint32_t all)
{
	if (n == 1)
		return all;
	if (n == 2)
		return all / 2;
	return (i ? hp->n_kv_heads : hp->n_heads) * hp->head_dim;
}

/*
 * Adds a matrix if its parts are all there and can be stacked: one format, and every part but the
 * last fills its row blocks. 1: added, 0: not, negative: one of the parts is wrong.
 */
static int add_matrix(struct sherd_pack_plan *plan, enum sherd_slot slot, int layer,
		      struct sherd_error *err)
{
	struct sherd_pack_item it = { 0 }, *item;
	const char *part[SHERD_PACK_PARTS];
	uint32_t rows, cols;
	int i, ret;

	sherd_slot_shape(&plan->hp, slot, &rows, &cols);
	sherd_slot_name(slot, layer, it.name, sizeof(it.name));
	it.n_parts = slot_sources(&plan->hp, slot, part);
	if (sherd_slot_is_experts(slot)) {
		it.n_experts = plan->hp.n_experts;
		it.expert_rows = sherd_slot_expert_rows(&plan->hp, slot);
	}
	for (i = 0; i < it.n_parts; i++) {
		struct sherd_format fmt = { 0 };

		it.part_rows[i] =
			part_rows(&plan->hp, i, it.n_parts, it.n_experts ? it.expert_rows : rows);
		ret = find_part(plan, slot, layer, part[i], it.part_rows[i], cols, &it.part[i],
				err);
		if (ret || !it.part[i])
			return ret;
		if (sherd_quant_format(it.part[i]->type, slot_bits(plan, slot), &fmt))
			return sherd_fail(err, -EOPNOTSUPP, "%s: no packed format holds type %s",
					  it.name, ggml_type_name(it.part[i]->type));
		if (i &&
		    (!sherd_format_alike(&fmt, &it.fmt) || it.part_rows[i - 1] % SHERD_TILE_ROWS))
			return 0;
		it.fmt = fmt;
	}
	it.fmt.rows = rows;
	it.fmt.cols = cols;
	ret = sherd_format_check(&it.fmt, it.name, err);
	if (ret)
		return ret;
	item = new_item(plan, err);
	if (!item)
		return -ENOMEM;
	*item = it;
	return 1;
}

/* Adds a vector if any of its parts is there; those that are not count as zeros if @optional. */
static int add_vector(struct sherd_pack_plan *plan, enum sherd_slot slot, int layer, bool optional,
		      struct sherd_error *err)
{
	struct sherd_pack_item it = { .vector = true }, *item;
	const char *part[SHERD_PACK_PARTS];
	uint32_t rows, n;
	bool any = false;
	int i, ret;

	sherd_slot_shape(&plan->hp, slot, &rows, &n);
	sherd_slot_name(slot, layer, it.name, sizeof(it.name));
	it.n_parts = slot_sources(&plan->hp, slot, part);
	for (i = 0; i < it.n_parts; i++) {
		it.part_rows[i] = part_rows(&plan->hp, i, it.n_parts, n);
		ret = find_part(plan, slot, layer, part[i], 1, it.part_rows[i], &it.part[i], err);
		if (ret)
			return ret;
		if (!it.part[i] && !optional)
			return fail_missing(plan, slot, layer, part[i], 1, it.part_rows[i], err);
		any |= !!it.part[i];
	}
	if (!any)
		return 0;
	it.fmt = (struct sherd_format){ .elem = SHERD_ELEM_F32,
					.scale = SHERD_ELEM_NONE,
					.min = SHERD_ELEM_NONE,
					.rows = 1,
					.cols = n };
	item = new_item(plan, err);
	if (!item)
		return -ENOMEM;
	*item = it;
	return 1;
}

/* 1: added, 0: not there and not needed. */
static int add_slot(struct sherd_pack_plan *plan, enum sherd_slot slot, int layer, bool needed,
		    struct sherd_error *err)
{
	const char *part[SHERD_PACK_PARTS];
	uint32_t rows, cols;
	int ret;

	if (sherd_slot_is_vector(slot))
		return add_vector(plan, slot, layer, !needed, err);
	ret = add_matrix(plan, slot, layer, err);
	if (ret || !needed)
		return ret;
	sherd_slot_shape(&plan->hp, slot, &rows, &cols);
	slot_sources(&plan->hp, slot, part);
	return fail_missing(plan, slot, layer, part[0], rows, cols, err);
}

/* One stacked matrix where the parts allow it, else each of its parts, which must be there. */
static int add_stack(struct sherd_pack_plan *plan, const struct sherd_stack *stack, int layer,
		     struct sherd_error *err)
{
	int ret = add_matrix(plan, stack->whole, layer, err);
	int slot;

	if (ret)
		return MIN(ret, 0);
	if (is_fused(&plan->hp, stack->whole))
		return MIN(add_slot(plan, stack->whole, layer, true, err), 0);
	for (slot = stack->first; slot <= (int)stack->last && ret >= 0; slot++)
		ret = add_slot(plan, slot, layer, true, err);
	return MIN(ret, 0);
}

static const struct sherd_stack *stack_of(enum sherd_slot slot)
{
	int i;

	for (i = 0; i < SHERD_N_STACKS; i++)
		if (sherd_stacks[i].whole == slot)
			return &sherd_stacks[i];
	return NULL;
}

static int add_layer(struct sherd_pack_plan *plan, int layer, struct sherd_error *err)
{
	int slot, ret = 0;

	for (slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS && ret >= 0; slot++) {
		enum sherd_slot_need need =
			sherd_slot_need(&plan->hp, slot, plan->first_layer, plan->end_layer);
		const struct sherd_stack *stack = stack_of(slot);

		if (need == SHERD_SLOT_NEVER)
			continue;
		if (!stack) {
			ret = add_slot(plan, slot, layer, need == SHERD_SLOT_REQUIRED, err);
			continue;
		}
		ret = add_stack(plan, stack, layer, err);
		slot = stack->last;
	}
	return MIN(ret, 0);
}

static int add_globals(struct sherd_pack_plan *plan, struct sherd_error *err)
{
	bool tied = !gguf_tensor(plan->g, sherd_slot_base(SHERD_OUTPUT));
	int slot, ret = 0;

	for (slot = 0; slot < SHERD_FIRST_LAYER_SLOT && ret >= 0; slot++) {
		enum sherd_slot_need need =
			sherd_slot_need(&plan->hp, slot, plan->first_layer, plan->end_layer);

		if (slot == SHERD_TOKEN_EMBD && need == SHERD_SLOT_OPTIONAL)
			need = tied ? SHERD_SLOT_REQUIRED : SHERD_SLOT_NEVER;
		if (need != SHERD_SLOT_NEVER)
			ret = add_slot(plan, slot, -1, need == SHERD_SLOT_REQUIRED, err);
	}
	return MIN(ret, 0);
}

static int check_params(struct sherd_pack_plan *plan, const struct sherd_pack_params *p,
			struct sherd_error *err)
{
	if (sherd_is_shard(plan->g))
		return sherd_fail(err, -EINVAL, "%s: is a packed shard already; pack its source",
				  plan->g->path);
	if (p->bits && p->bits != 4 && p->bits != 8)
		return sherd_fail(err, -EINVAL,
				  "weights can't be packed to %d bits, only to 4 or 8", p->bits);
	return 0;
}

int sherd_pack_plan_make(struct sherd_pack_plan *plan, const struct gguf *g,
			 const struct sherd_pack_params *p, struct sherd_error *err)
{
	size_t i;
	int ret, layer, k;

	memset(plan, 0, sizeof(*plan));
	plan->g = g;
	plan->bits = p->bits;
	ret = check_params(plan, p, err);
	if (!ret)
		ret = sherd_hparams_read(&plan->hp, g, err);
	if (ret)
		return ret;
	plan->first_layer = p->first_layer;
	plan->end_layer = p->first_layer || p->end_layer ? p->end_layer : plan->hp.n_layers;
	if (plan->first_layer < 0 || plan->first_layer >= plan->end_layer ||
	    plan->end_layer > plan->hp.n_layers)
		return sherd_fail(err, -EINVAL, "%s: has layers 0-%d; a range %d-%d is not in it",
				  g->path, plan->hp.n_layers - 1, plan->first_layer,
				  plan->end_layer - 1);
	ret = check_all_used(plan, err);
	if (!ret)
		ret = add_globals(plan, err);
	for (layer = plan->first_layer; layer < plan->end_layer && !ret; layer++)
		ret = add_layer(plan, layer, err);
	for (i = 0; i < plan->n_items; i++)
		for (k = 0; k < plan->items[i].n_parts; k++)
			if (plan->items[i].part[k])
				plan->bytes_in += plan->items[i].part[k]->size;
	return ret;
}

void sherd_pack_plan_clear(struct sherd_pack_plan *plan)
{
	free(plan->items);
	memset(plan, 0, sizeof(*plan));
}
