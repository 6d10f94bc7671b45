/* SPDX-License-Identifier: MIT */
/*
 * hf_tensors: the folder's safetensors files, and each of their tensors under GGUF's name. A tensor
 * whose rows have GGUF's order already is used where it lies; others get a view (gguf.h). One that
 * the family's tables do not know is refused, since a weight silently left out gives wrong text.
 */
#include "model/arch.h"
#include "model/hf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_INDEX (64u << 20)
#define MAX_FILES 4096

static int open_file(struct hf *hf, const char *file)
{
	char *path = hf_path(hf, file);
	int ret;

	if (!path)
		return -ENOMEM;
	ret = safetensors_open(&hf->files[hf->n_files++], path, hf->err);
	free(path);
	return ret;
}

/* ------------------------------------------------------------------ several files */

/* It becomes a part of a path, and must not lead out of the folder. */
static bool is_plain(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/') && strlen(s) < 200;
}

static const struct st_tensor *find_in(const struct safetensors *s, const char *name)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int d = strcmp(name, s->tensors[mid].name);

		if (!d)
			return &s->tensors[mid];
		if (d < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* The place of @file in the list of names that @seen keeps; a new one is opened. */
static int file_number(struct hf *hf, json_t *seen, const char *file, size_t *i)
{
	const json_t *known = json_object_get(seen, file);
	int ret = 0;

	*i = known ? (size_t)json_integer_value(known) : hf->n_files;
	if (known)
		return 0;
	if (!is_plain(file))
		return sherd_fail(hf->err, -EINVAL,
				  "%s: the index names a file \"%.64s\", which cannot be", hf->dir,
				  file);
	if (hf->n_files == MAX_FILES)
		return sherd_fail(hf->err, -EINVAL, "%s: the index names more than %d files",
				  hf->dir, MAX_FILES);
	if (json_object_set_new(seen, file, json_integer((json_int_t)hf->n_files)))
		return sherd_fail_oom(hf->err, strlen(file), hf->dir);
	ret = open_file(hf, file);
	if (ret == -ENOENT)
		return sherd_fail_prefix(hf->err, ret,
					 "one of the files that the index lists is missing");
	return ret;
}

static int open_indexed(struct hf *hf, const json_t *map)
{
	json_t *seen = json_object();
	const char *name;
	json_t *file;
	int ret = 0;
	size_t i;

	hf->files = sherd_calloc(MAX_FILES, sizeof(*hf->files));
	if (!seen || !hf->files)
		ret = sherd_fail_oom(hf->err, MAX_FILES * sizeof(*hf->files), hf->dir);
	json_object_foreach((json_t *)map, name, file) {
		if (ret)
			break;
		if (!json_is_string(file)) {
			ret = sherd_fail(hf->err, -EINVAL, "%s: the index has no file for %.64s",
					 hf->dir, name);
			break;
		}
		ret = file_number(hf, seen, json_string_value(file), &i);
		if (!ret && !find_in(&hf->files[i], name))
			ret = sherd_fail(hf->err, -EINVAL,
					 "%s: tensor %.64s is not in %s, where the index has it",
					 hf->dir, name, json_string_value(file));
	}
	json_decref(seen);
	return ret;
}

static int open_index(struct hf *hf)
{
	json_t *index;
	int ret = hf_json(hf, "model.safetensors.index.json", MAX_INDEX, true, &index);

	if (ret)
		return ret;
	if (json_object_size(json_object_get(index, "weight_map")))
		ret = open_indexed(hf, json_object_get(index, "weight_map"));
	else
		ret = sherd_fail(hf->err, -EINVAL,
				 "%s/model.safetensors.index.json: has no weight_map", hf->dir);
	json_decref(index);
	return ret;
}

/* ------------------------------------------------------------------------- names */

/* A number instead of each '*'; *@end is what @name goes on with. */
static bool match(const char *pattern, const char *name, const char **end, long number[2])
{
	int n = 0;

	number[0] = number[1] = -1;
	for (; *pattern; pattern++) {
		char *next;

		if (*pattern != '*') {
			if (*pattern != *name++)
				return false;
			continue;
		}
		if (!isdigit((unsigned char)*name) || n == 2)
			return false;
		number[n++] = strtol(name, &next, 10);
		if (next - name > 6)
			return false;
		name = next;
	}
	*end = name;
	return true;
}

static const char *skip_prefixes(const char *name)
{
	static const char *const prefixes[] = { "model.",   "language_model.", "transformer.",
						"decoder.", "bert.",	       "distilbert.",
						"gpt_neox." };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) {
			name += strlen(prefixes[i]);
			i = -1;
		}
	return name;
}

/* ".weight", ".bias", or what these were called before; NULL: something else. */
static const char *suffix_of(const char *end)
{
	if (!strcmp(end, ".weight") || !strcmp(end, ".gamma"))
		return ".weight";
	if (!strcmp(end, ".bias") || !strcmp(end, ".beta"))
		return ".bias";
	return NULL;
}

struct target {
	const struct hf_name *row;
	char name[64]; /* in GGUF */
	long layer, part; /* -1: none */
};

/* False: the family has no such tensor. */
static bool find_target(const struct hf_family *f, const char *name, struct target *t)
{
	const struct hf_name *row;
	const char *end, *suffix;
	long number[2] = { -1, -1 };
	int i;

	*t = (struct target){ .layer = -1, .part = -1 };
	name = skip_prefixes(name);
	for (i = 0; i < HF_TABLES && f->names[i]; i++)
		for (row = f->names[i]; row->hf; row++) {
			if (!match(row->hf, name, &end, number))
				continue;
			suffix = suffix_of(end);
			if (!suffix && !((row->how & HF_IGNORED) && (!*end || end[-1] == '.')))
				continue;
			t->row = row;
			t->layer = number[0];
			t->part = number[1];
			if (row->how & HF_IGNORED)
				return true;
			if (strchr(row->hf, '*'))
				snprintf(t->name, sizeof(t->name), "blk.%ld.%s%s", number[0],
					 row->gguf, suffix);
			else
				snprintf(t->name, sizeof(t->name), "%s%s", row->gguf, suffix);
			return true;
		}
	return false;
}

/* ------------------------------------------------------------------------ tensors */

static int refuse_type(const struct hf *hf, const struct st_tensor *t)
{
	return sherd_fail(hf->err, -ENOTSUP,
			  "%s: tensor %s is of type %s; of safetensors sherd reads %s", hf->dir,
			  t->name, t->dtype, SAFETENSORS_TYPES);
}

static unsigned heads_of(const struct hf *hf, unsigned how)
{
	return how & HF_ROTATED_Q ? (unsigned)hf->n_heads :
	       how & HF_ROTATED_K ? (unsigned)hf->n_kv_heads :
				    0;
}

static bool is_norm(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot - name >= 4 && !strncmp(dot - 4, "norm", 4);
}

static struct gguf_view *new_view(struct gguf *g, const struct st_tensor *t, size_t n_parts)
{
	struct gguf_view *v = gguf_own(g, sizeof(*v) + n_parts * sizeof(v->part[0]));

	if (!v)
		return NULL;
	v->type = t->type;
	v->part[0] = t->data;
	v->part_rows = t->dims[0];
	v->n_parts = n_parts;
	return v;
}

static bool is_aligned(const struct st_tensor *t)
{
	return !((uintptr_t)t->data % ggml_block_bytes(t->type));
}

/* Whether rows stand in groups of heads, in another order than GGUF's. */
static bool is_grouped(const struct hf *hf, const struct st_tensor *t, unsigned how)
{
	uint64_t heads = (uint64_t)hf->n_heads + 2 * (uint64_t)hf->n_kv_heads;

	return (how & HF_GROUPED) && hf->n_kv_heads > 1 && hf->head_dim > 0 &&
	       hf->n_heads % hf->n_kv_heads == 0 && t->dims[0] == heads * (uint64_t)hf->head_dim;
}

/* How the rows, or elements, of @v become GGUF's. */
static void set_order(const struct hf *hf, const struct st_tensor *t, unsigned how,
		      struct gguf_view *v)
{
	unsigned heads = heads_of(hf, how);

	if (heads && t->dims[0] % (2 * (uint64_t)heads) == 0)
		v->pairs = (unsigned)(t->dims[0] / heads);
	if (is_grouped(hf, t, how)) {
		v->q_heads = (unsigned)(hf->n_heads / hf->n_kv_heads);
		v->head_dim = (unsigned)hf->head_dim;
	}
}

/* Norms and biases are F32 in GGUF files. */
static int map_vector(struct hf *hf, struct gguf *g, const struct st_tensor *t,
		      const struct target *to, struct gguf_tensor *out)
{
	struct gguf_view *v;

	out->type = GGML_F32;
	out->dims[0] = t->dims[0];
	out->size = t->dims[0] * sizeof(float);
	v = new_view(g, t, 1);
	if (!v)
		return sherd_fail_oom(hf->err, sizeof(*v), t->name);
	set_order(hf, t, to->row->how, v);
	v->add = hf->family->norms_from_one && is_norm(to->name) ? 1 : 0;
	out->view = v;
	return 0;
}

static int map_matrix(struct hf *hf, struct gguf *g, const struct st_tensor *t,
		      const struct target *to, struct gguf_tensor *out)
{
	unsigned how = to->row->how;
	uint64_t unused =
		sherd_arch_find(hf->family->arch, strlen(hf->family->arch))->unused_positions;
	size_t skip = 0;
	struct gguf_view *v;

	out->type = t->type;
	out->dims[0] = t->dims[how & HF_TRANSPOSED ? 0 : 1];
	out->dims[1] = t->dims[how & HF_TRANSPOSED ? 1 : 0];
	out->dims[2] = t->dims[2];
	out->size = t->size;
	if (!strcmp(to->name, "position_embd.weight") && t->dims[0] > unused) {
		skip = unused * (t->size / t->dims[0]);
		out->dims[1] -= unused;
		out->size -= skip;
	}
	out->data = t->data + skip;
	if (!heads_of(hf, how) && !(how & HF_TRANSPOSED) && !is_grouped(hf, t, how) &&
	    is_aligned(t))
		return 0;
	v = new_view(g, t, 1);
	if (!v)
		return sherd_fail_oom(hf->err, sizeof(*v), t->name);
	v->part[0] += skip;
	v->part_rows = out->dims[1];
	v->transposed = how & HF_TRANSPOSED;
	set_order(hf, t, how, v);
	out->view = v;
	out->data = NULL;
	return 0;
}

static int map_tensor(struct hf *hf, struct gguf *g, const struct st_tensor *t,
		      const struct target *to, struct gguf_tensor *out)
{
	char *name = gguf_own(g, strlen(to->name) + 1);
	int i;

	if (!name)
		return sherd_fail_oom(hf->err, strlen(to->name), t->name);
	strcpy(name, to->name);
	*out = (struct gguf_tensor){ .name = { name, strlen(name) }, .n_dims = MAX(t->n_dims, 1) };
	for (i = 0; i < GGUF_MAX_DIMS; i++)
		out->dims[i] = 1;
	if (t->type == GGML_TYPE_MAX)
		return refuse_type(hf, t);
	if (t->n_dims > 2 || !t->size)
		return sherd_fail(hf->err, -ENOTSUP,
				  "%s: tensor %s has %d dimensions, or no elements", hf->dir,
				  t->name, t->n_dims);
	return t->n_dims == 2 ? map_matrix(hf, g, t, to, out) : map_vector(hf, g, t, to, out);
}

/* ------------------------------------------------------------------------- stacks */

/* How many parts the stack has that a tensor of @how is one of. */
static size_t parts_of(const struct hf *hf, unsigned how)
{
	int n = how & HF_EXPERT ? hf->n_experts : how & HF_HEAD_OF_Q ? hf->n_heads : hf->n_kv_heads;

	return n > 0 ? (size_t)n : 0;
}

/* A stack of matrices has a dimension more; of vectors, one follows the other. */
static int new_stack(struct hf *hf, struct gguf *g, const struct st_tensor *t,
		     const struct target *to, struct gguf_tensor *out)
{
	size_t n = parts_of(hf, to->row->how), size;
	struct gguf_view *v;
	int ret = map_tensor(hf, g, t, to, out);

	if (ret)
		return ret;
	v = new_view(g, t, n);
	if (!v)
		return sherd_fail_oom(hf->err, n * sizeof(v->part[0]), t->name);
	v->part[0] = NULL;
	v->add = out->view ? out->view->add : 0;
	if (t->n_dims == 2) {
		out->n_dims = 3;
		out->dims[2] = n;
	} else {
		out->dims[0] *= n;
	}
	if (!sherd_mul_ok((size_t)out->size, n, &size))
		return sherd_fail(hf->err, -EINVAL, "%s: tensor %s is too large to be one of %zu",
				  hf->dir, t->name, n);
	out->size = size;
	out->data = NULL;
	out->view = v;
	return 0;
}

/* The stack that @to is a part of; a new one where it is the first. */
static int find_stack(struct hf *hf, struct gguf *g, const struct st_tensor *t,
		      const struct target *to, struct gguf_tensor *all, size_t *n,
		      struct gguf_tensor **stack)
{
	const json_t *at;
	int ret;

	if (!hf->stacks)
		hf->stacks = json_object();
	at = json_object_get(hf->stacks, to->name);
	*stack = &all[at ? (size_t)json_integer_value(at) : *n];
	if (at)
		return 0;
	ret = new_stack(hf, g, t, to, *stack);
	if (!ret && json_object_set_new(hf->stacks, to->name, json_integer((json_int_t)*n)))
		ret = sherd_fail_oom(hf->err, strlen(to->name), t->name);
	++*n;
	return ret;
}

/* An expert's matrix, or a head's vector, becomes the part of that number of its stack. */
static int map_part(struct hf *hf, struct gguf *g, const struct st_tensor *t,
		    const struct target *to, struct gguf_tensor *all, size_t *n)
{
	size_t n_parts = parts_of(hf, to->row->how);
	bool expert = to->row->how & HF_EXPERT;
	struct gguf_tensor *stack;
	struct gguf_view *v;
	int ret;

	if (to->part >= (long)n_parts || n_parts > (expert ? SHERD_MAX_EXPERTS : HF_MAX_HEADS) ||
	    t->n_dims != (expert ? 2 : 1))
		return sherd_fail(hf->err, -EINVAL,
				  "%s: tensor %s is of %s %ld, but config.json has %zu", hf->dir,
				  t->name, expert ? "expert" : "head", to->part, n_parts);
	ret = find_stack(hf, g, t, to, all, n, &stack);
	if (ret)
		return ret;
	v = (struct gguf_view *)stack->view; /* gguf_own() gave it to us */
	if (t->type != v->type || t->dims[0] != v->part_rows ||
	    (expert && t->dims[1] != stack->dims[0]) || v->part[to->part])
		return sherd_fail(hf->err, -EINVAL,
				  "%s: tensor %s is not of the others' type and shape, or is there "
				  "twice",
				  hf->dir, t->name);
	v->part[to->part] = t->data;
	return 0;
}

static int check_stacks(const struct hf *hf, const struct gguf_tensor *all, size_t n)
{
	size_t i, k;

	for (i = 0; i < n; i++)
		for (k = 0; all[i].view && k < all[i].view->n_parts; k++)
			if (!all[i].view->part[k])
				return sherd_fail(hf->err, -EINVAL,
						  "%s: tensor %s lacks some of its %zu parts",
						  hf->dir, all[i].name.data, all[i].view->n_parts);
	return 0;
}

/* Divisors of RoPE's frequencies, which config.json has or implies, and GGUF has as tensors. */
static int add_factors(struct hf *hf, struct gguf *g, struct gguf_tensor *out, size_t *n)
{
	size_t bytes = (size_t)hf->rope_dim / 2 * sizeof(float), i;
	float *data;

	for (i = 0; i < ARRAY_SIZE(hf->rope); i++) {
		if (!hf->rope[i].data)
			continue;
		data = gguf_own(g, bytes);
		if (!data)
			return sherd_fail_oom(hf->err, bytes, "RoPE's factors");
		memcpy(data, hf->rope[i].data, bytes);
		out[(*n)++] = (struct gguf_tensor){
			.name = { hf->rope[i].name, strlen(hf->rope[i].name) },
			.type = GGML_F32,
			.n_dims = 1,
			.dims = { (uint64_t)hf->rope_dim / 2, 1, 1, 1 },
			.size = bytes,
			.data = data,
		};
	}
	return 0;
}

/* The output matrix is the embedding where config.json says so, whatever the file has. */
static bool is_tied(const struct hf *hf, const struct target *to)
{
	return !strncmp(to->name, "output.", 7) &&
	       json_is_true(json_object_get(hf->root, "tie_word_embeddings"));
}

static int map_file(struct hf *hf, struct gguf *g, struct safetensors *s, struct gguf_tensor *out,
		    size_t *n)
{
	struct target to;
	size_t i;
	int ret;

	for (i = 0; i < s->n; i++) {
		if (!find_target(hf->family, s->tensors[i].name, &to))
			return sherd_fail(
				hf->err, -EOPNOTSUPP,
				"%s: tensor %.64s is no part of a %s model as sherd knows "
				"it; leaving it out would give wrong results",
				hf->dir, s->tensors[i].name, hf->family->arch);
		if ((to.row->how & HF_IGNORED) || is_tied(hf, &to))
			continue;
		if (to.layer >= MIN(hf->n_layers, SHERD_MAX_LAYERS))
			return sherd_fail(
				hf->err, -EINVAL,
				"%s: tensor %.64s is of layer %ld, but config.json has %d of "
				"them, and at most %d may be",
				hf->dir, s->tensors[i].name, to.layer, hf->n_layers,
				SHERD_MAX_LAYERS);
		if (to.row->how & HF_PARTS) {
			ret = map_part(hf, g, &s->tensors[i], &to, out, n);
		} else {
			ret = map_tensor(hf, g, &s->tensors[i], &to, &out[*n]);
			++*n;
		}
		if (ret)
			return ret;
	}
	ret = gguf_add_map(g, s->map, hf->err);
	s->map.fd = -1;
	return ret;
}

int hf_tensors_map(struct hf *hf, struct gguf *g)
{
	struct gguf_tensor *all;
	size_t n = ARRAY_SIZE(hf->rope), i;
	int ret = 0;

	for (i = 0; i < hf->n_files; i++)
		n += hf->files[i].n;
	all = sherd_calloc(n, sizeof(*all));
	if (!all)
		return sherd_fail_oom(hf->err, n * sizeof(*all), hf->dir);
	g->container = "safetensors";
	for (i = n = 0; i < hf->n_files && !ret; i++)
		ret = map_file(hf, g, &hf->files[i], all, &n);
	if (!ret)
		ret = check_stacks(hf, all, n);
	if (!ret)
		ret = add_factors(hf, g, all, &n);
	if (!ret)
		return gguf_set_tensors(g, all, n, hf->err);
	free(all);
	return ret;
}

int hf_tensors_open(struct hf *hf)
{
	struct target to;
	size_t i, k;
	int ret;

	if (hf_has(hf, "model.safetensors.index.json")) {
		ret = open_index(hf);
	} else if (hf_has(hf, "model.safetensors")) {
		hf->files = sherd_calloc(1, sizeof(*hf->files));
		ret = hf->files ? open_file(hf, "model.safetensors") :
				  sherd_fail_oom(hf->err, sizeof(*hf->files), hf->dir);
	} else {
		ret = sherd_fail(hf->err, -ENOENT,
				 "%s: has neither model.safetensors nor "
				 "model.safetensors.index.json: other formats are not read, "
				 "save the model as safetensors",
				 hf->dir);
	}
	for (i = 0; i < hf->n_files && !ret; i++)
		for (k = 0; k < hf->files[i].n; k++)
			if (find_target(hf->family, hf->files[i].tensors[k].name, &to) &&
			    !strcmp(to.name, "token_embd.weight") && hf->files[i].tensors[k].size)
				hf->n_rows = (int64_t)hf->files[i].tensors[k].dims[0];
	return ret;
}
