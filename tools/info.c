/* SPDX-License-Identifier: MIT */
/*
 * info: what a file is and what running it would take, from its header alone: no weight is read, so
 * that it answers at once for files that no memory here could hold. A file that sherd cannot run is
 * described too, with the reason; only one that cannot be read is a failure.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "infer/exec.h"
#include "info.h"
#include "model/pack.h"
#include "model/source.h"
#include "model/tokenizer.h"

#define DEFAULT_BATCH 256 /* rows of a step, as sherd_model_open() has it */

static const char about[] =
	"Prints architecture, sizes, quantization, tokenizer and the memory that a model takes, "
	"without reading its weights.\n"
	"\n"
	"  sherd info model.gguf\n"
	"  sherd info llama3.2:1b -c 8192 --tensors\n"
	"  sherd info model.gguf --json | jq .memory\n"
	"\n"
	"A model that sherd cannot run is described as well, with the reason.";

/*
 * Names come from the file: control characters would steer the terminal, broken UTF-8 would not be
 * JSON.
 */
static void copy_clean(char *out, size_t size, struct gguf_str s)
{
	json_t *utf8 = json_stringn(s.data, s.len);
	size_t i, n = MIN(s.len, size - 1);
	bool cut = n < s.len;

	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.data[i];

		out[i] = c < 0x20 || c == 0x7f || ((cut || !utf8) && c > 0x7f) ? '?' : (char)c;
	}
	out[n] = '\0';
	json_decref(utf8);
}

static void get_text(const struct gguf *g, const char *key, char *out, size_t size)
{
	struct gguf_str s = { "", 0 };

	gguf_get_str(g, key, &s, NULL);
	copy_clean(out, size, s);
}

/* ----------------------------------------------------------------- tensors */

static void add_plain(struct info *in, const struct gguf_tensor *t)
{
	struct info_tensor *out = &in->tensors[in->n_tensors++];
	int i;

	copy_clean(out->name, sizeof(out->name), t->name);
	snprintf(out->format, sizeof(out->format), "%s", ggml_type_name(t->type));
	out->n_dims = t->n_dims;
	out->params = 1;
	for (i = 0; i < GGUF_MAX_DIMS; i++) {
		out->dims[i] = t->dims[i];
		out->params *= t->dims[i]; /* the reader has checked that this fits */
	}
	out->bytes = t->size;
}

static void add_slot(struct info *in, const union sherd_slot_data *d, int slot, int layer)
{
	struct info_tensor *out = &in->tensors[in->n_tensors];
	bool vector = sherd_slot_is_vector((enum sherd_slot)slot);

	if (vector ? !d->vector.data : !d->matrix.values)
		return;
	in->n_tensors++;
	sherd_slot_name((enum sherd_slot)slot, layer, out->name, sizeof(out->name));
	out->n_dims = vector ? 1 : 2;
	out->dims[0] = vector ? d->vector.n : d->matrix.fmt.cols;
	out->dims[1] = vector ? 1 : d->matrix.fmt.rows;
	out->params = out->dims[0] * out->dims[1];
	if (vector) {
		snprintf(out->format, sizeof(out->format), "f32 vector");
		out->bytes = out->params * sizeof(float);
	} else {
		sherd_format_name(&d->matrix.fmt, out->format, sizeof(out->format));
		out->bytes = (uint64_t)d->matrix.values_size + d->matrix.scales_size +
			     d->matrix.mins_size;
	}
}

static int list_tensors(struct info *in, struct sherd_error *err)
{
	const struct sherd_shard *s = in->shard;
	size_t n =
		s ? (size_t)(s->end_layer - s->first_layer + 1) * SHERD_N_SLOTS : in->g->n_tensors;
	size_t i;
	int layer, slot;

	in->tensors = sherd_calloc(n, sizeof(*in->tensors));
	if (!in->tensors)
		return sherd_fail_oom(err, n * sizeof(*in->tensors), "the list of tensors");
	for (i = 0; !s && i < n; i++)
		add_plain(in, &in->g->tensors[i]);
	for (slot = 0; s && slot < SHERD_FIRST_LAYER_SLOT; slot++)
		add_slot(in, &s->global[slot], slot, -1);
	for (layer = in->first_layer; s && layer < in->end_layer; layer++)
		for (slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS; slot++)
			add_slot(in, &s->layers[layer - s->first_layer][slot], slot, layer);
	return 0;
}

static int more_bytes_first(const void *a, const void *b)
{
	const struct info_format *x = a, *y = b;

	return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static struct info_format *find_format(struct info *in, const char *name)
{
	struct info_format *f = in->formats, *last = f + INFO_FORMATS - 1;

	while (f < last && f->name && strcmp(f->name, name))
		f++;
	if (!f->name) {
		f->name = f == last ? "others" : name;
		in->n_formats++;
	}
	return f;
}

static void count_formats(struct info *in)
{
	const struct info_tensor *t;
	struct info_format *f;

	for (t = in->tensors; t < in->tensors + in->n_tensors; t++) {
		f = find_format(in, t->format);
		f->n_tensors++;
		f->params += t->params;
		f->bytes += t->bytes;
		in->n_params += t->params;
		in->weight_bytes += t->bytes;
	}
	qsort(in->formats, in->n_formats, sizeof(*in->formats), more_bytes_first);
}

/* ------------------------------------------------------------------ memory */

static void size_item(struct info *in, const struct sherd_pack_item *it)
{
	size_t values, scales, mins;
	uint64_t bytes;
	bool embedding = !strcmp(it->name, "token_embd.weight");

	if (it->vector)
		return;
	sherd_format_sizes(&it->fmt, &values, &scales, &mins);
	bytes = (uint64_t)values + scales + mins;
	in->packed_bytes += bytes;
	/* a token reads one row of the tables, unless the output projection is tied to them */
	if (strcmp(it->name, "position_embd.weight") &&
	    !(embedding && gguf_tensor(in->g, "output.weight"))) {
		in->token_bytes += bytes;
		sherd_forms_add(&in->forms, &it->fmt);
	}
}

/* What the packer would do with a plain file: its refusal is the reason why this cannot be run. */
static void plan_packing(struct info *in)
{
	struct sherd_pack_params params = { .bits = in->bits };
	struct sherd_pack_plan plan;
	size_t i;

	if (!in->g->n_tensors) {
		sherd_fail(&in->why_not, -ENOENT, "%s: holds a vocabulary, but no weights",
			   in->path);
		return;
	}
	if (!sherd_pack_plan_make(&plan, in->g, &params, &in->why_not))
		for (i = 0; i < plan.n_items; i++)
			size_item(in, &plan.items[i]);
	sherd_pack_plan_clear(&plan);
}

static void size_memory(struct info *in)
{
	int layers = in->end_layer - in->first_layer;
	uint64_t pages;

	if (in->shard) {
		in->packed_bytes = in->shard->weight_bytes;
		in->token_bytes = in->shard->token_bytes;
		sherd_forms_of(&in->forms, in->shard);
	} else {
		plan_packing(in);
	}
	in->n_ctx = sherd_hparams_ctx(&in->hp, in->n_ctx);
	pages = DIV_ROUND_UP((uint64_t)in->n_ctx, SHERD_PAGE);
	in->kv_f16 = pages * sherd_kv_page_bytes(&in->hp, layers, SHERD_KV_F16);
	in->kv_int8 = pages * sherd_kv_page_bytes(&in->hp, layers, SHERD_KV_INT8);
	in->scratch = sherd_scratch_bytes(&in->hp, &in->forms, DEFAULT_BATCH, in->n_ctx);
}

/* --------------------------------------------------------------------- all */

/* A packed shard is opened as any program would, but its scales are not read: @trusted. */
static int open_file(struct info *in, struct sherd_error *err)
{
	int ret = sherd_resolve_model(in->model, &in->path, err);

	if (!ret)
		ret = sherd_source_open(&in->g, in->path, err);
	if (ret || !sherd_is_shard(in->g))
		return ret;
	ret = sherd_shard_from_gguf(&in->shard, in->g, true, err);
	in->g = ret ? NULL : in->shard->gguf;
	return ret;
}

static int collect(struct info *in, struct sherd_error *err)
{
	int ret = open_file(in, err);

	if (ret)
		return ret;
	get_text(in->g, in->shard ? "sherd.source.architecture" : "general.architecture", in->arch,
		 sizeof(in->arch));
	get_text(in->g, "general.name", in->name, sizeof(in->name));
	in->known = !sherd_hparams_read(&in->hp, in->g, &in->why_not);
	if (in->known) {
		in->first_layer = in->shard ? in->shard->first_layer : 0;
		in->end_layer = in->shard ? in->shard->end_layer : in->hp.n_layers;
		size_memory(in);
	}
	ret = list_tensors(in, err);
	if (ret)
		return ret;
	count_formats(in);
	sherd_tokenizer_from_gguf(&in->tok, in->g, &in->tok_why);
	return 0;
}

static void clear(struct info *in)
{
	sherd_tokenizer_free(in->tok);
	if (in->shard)
		sherd_shard_close(in->shard);
	else
		gguf_close(in->g);
	free(in->tensors);
	free(in->path);
}

static int work(struct info *in)
{
	struct sherd_error err;
	int rc = TOOL_OK;

	if (collect(in, &err))
		rc = tool_fail(&tool_info, &err);
	else if (in->json)
		rc = info_print_json(in);
	else
		info_print(in);
	clear(in);
	if (!tool_flush(&tool_info) && !rc)
		rc = TOOL_FAILED;
	return rc;
}

static int info_main(int argc, char **argv)
{
	struct info in = { .n_ctx = 0 };
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &in.model, 0, 0, "MODEL",
		  "the model, if not given as an argument: GGUF file, packed shard, Ollama model "
		  "name, or Hugging Face folder or name" },
		{ 'c', "ctx-size", OPT_INT, &in.n_ctx, 0, 1 << 24, "N",
		  "memory at this context (default: what the model was trained for, at most "
		  "4096)" },
		{ 0, "bits", OPT_INT, &in.bits, 4, 8, "4|8",
		  "memory if the model is packed so (sherd pack --help)" },
		{ 0, "tensors", OPT_FLAG, &in.list_tensors, 0, 0, NULL, "list every tensor" },
		{ 0, "json", OPT_FLAG, &in.json, 0, 0, NULL, "print JSON" },
		{ 0 },
	};
	int rc = opt_parse(&tool_info, opts, &argc, argv);

	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc > 0 && !in.model) {
		in.model = *argv++;
		argc--;
	}
	if (argc > 0)
		return tool_usage(&tool_info, "'%s' is one argument too many", argv[0]);
	if (!in.model)
		return tool_usage(&tool_info, "which model? sherd info MODEL");
	if (in.bits && in.bits != 4 && in.bits != 8)
		return tool_usage(&tool_info, "--bits: %d is neither 4 nor 8", in.bits);
	return work(&in);
}

const struct tool tool_info = {
	.name = "info",
	.synopsis = "MODEL [-c CTX] [--tensors] [--json]",
	.summary = "describe a model and the memory that it takes",
	.about = about,
	.main = info_main,
};
