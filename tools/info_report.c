/* SPDX-License-Identifier: MIT */
/* info_report: what info.c has collected, as text for a person or as JSON for a program. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include "info.h"
#include "model/tokenizer.h"

static double bits_each(uint64_t bytes, uint64_t params)
{
	return params ? 8.0 * (double)bytes / (double)params : 0;
}

/* "1.10 G", "5.5 M", "960" */
static const char *count(uint64_t n, char buf[24])
{
	if (n >= 1000000000)
		snprintf(buf, 24, "%.2f G", (double)n / 1e9);
	else if (n >= 1000000)
		snprintf(buf, 24, "%.1f M", (double)n / 1e6);
	else if (n >= 10000)
		snprintf(buf, 24, "%.1f k", (double)n / 1e3);
	else
		snprintf(buf, 24, "%" PRIu64, n);
	return buf;
}

/* ---------------------------------------------------------------------- text */

static void print_position(const struct sherd_hparams *hp)
{
	if (hp->arch->position == SHERD_POS_LEARNED) {
		printf("  positions      learned, %d\n", hp->n_ctx_train);
		return;
	}
	printf("  positions      RoPE on %d of %d, base %g", hp->rope_dim, hp->head_dim,
	       (double)hp->rope_theta);
	if (hp->rope_scaling == SHERD_ROPE_LINEAR)
		printf(", stretched %g times", (double)hp->rope_factor);
	if (hp->rope_scaling == SHERD_ROPE_LONG)
		printf(", divisors for contexts to %d and beyond", hp->rope_ctx);
	if (hp->rope_scaling == SHERD_ROPE_YARN)
		printf(", YaRN %g times beyond %d", (double)hp->rope_factor, hp->rope_ctx);
	if (hp->other_rope == SHERD_ROPE_SKIPPED)
		printf(", none in every %dth layer", SHERD_SKIP_PERIOD);
	else if (hp->other_rope == SHERD_ROPE_WINDOWS)
		printf(", none in layers without a window");
	else if (hp->other_rope != SHERD_ROPE_SAME)
		printf(", %g within windows", (double)hp->rope_other_theta);
	printf("\n");
}

static void print_experts(const struct sherd_hparams *hp)
{
	if (!hp->n_experts)
		return;
	printf("  experts        %d of %d, of which a token uses %d", hp->n_experts, hp->ffn_expert,
	       hp->n_used);
	if (hp->arch->shared_expert)
		printf("; and one of %d that all use", hp->ffn_shared);
	printf("\n");
}

static void print_shape(const struct info *in)
{
	const struct sherd_hparams *hp = &in->hp;
	int windowed = 0, l;

	for (l = 0; l < hp->n_layers; l++)
		windowed += sherd_hparams_window(hp, l) != 0;
	printf("  layers         %d", hp->n_layers);
	if (in->end_layer - in->first_layer < hp->n_layers)
		printf(", of which %d-%d are here", in->first_layer, in->end_layer - 1);
	if (hp->n_experts)
		printf("\n  width          %d\n", hp->hidden);
	else
		printf("\n  width          %d, feed-forward %d\n", hp->hidden, hp->ffn);
	print_experts(hp);
	printf("  heads          %d of %d, %d for keys and values\n", hp->n_heads, hp->head_dim,
	       hp->n_kv_heads);
	printf("  vocabulary     %d tokens\n", hp->n_vocab);
	printf("  context        %d tokens trained", hp->n_ctx_train);
	if (hp->window)
		printf(", attention looks back on %d", hp->window);
	if (hp->window && windowed < hp->n_layers)
		printf(" in %d layers", windowed);
	printf("\n");
	print_position(hp);
}

static void print_tokenizer(const struct info *in)
{
	if (!in->tok) {
		printf("  tokenizer      none (%s)\n", in->tok_why.msg);
		return;
	}
	printf("  tokenizer      %s, %d tokens", sherd_tokenizer_describe(in->tok),
	       sherd_tokenizer_n_vocab(in->tok));
	if (sherd_tokenizer_bos(in->tok) >= 0)
		printf(", BOS %d", sherd_tokenizer_bos(in->tok));
	if (sherd_tokenizer_eos(in->tok) >= 0)
		printf(", EOS %d", sherd_tokenizer_eos(in->tok));
	printf("\n");
}

static void print_formats(const struct info *in)
{
	const struct info_format *f;
	char buf[24];

	printf("\nQuantization\n");
	printf("  %-20s %8s %10s %12s %7s %7s\n", "format", "tensors", "weights", "bytes", "share",
	       "bits");
	for (f = in->formats; f < in->formats + in->n_formats; f++)
		printf("  %-20s %8zu %10s %12s %5.1f %% %7.2f\n", f->name, f->n_tensors,
		       count(f->params, buf), tool_bytes(f->bytes),
		       in->weight_bytes ? 100.0 * (double)f->bytes / (double)in->weight_bytes : 0.0,
		       bits_each(f->bytes, f->params));
}

static void print_tensors(const struct info *in)
{
	const struct info_tensor *t;
	char shape[96];
	size_t n;
	int i;

	printf("\nTensors\n");
	for (t = in->tensors; t < in->tensors + in->n_tensors; t++) {
		n = 0;
		for (i = 0; i < t->n_dims; i++)
			n += (size_t)snprintf(shape + n, sizeof(shape) - n, "%s%" PRIu64,
					      i ? " x " : "", t->dims[i]);
		printf("  %-28s %-18s %-20s %10s\n", t->name, shape, t->format,
		       tool_bytes(t->bytes));
	}
}

static void print_memory(const struct info *in)
{
	printf("\nMemory at a context of %d tokens\n", in->n_ctx);
	printf("  packed weights %10s, of which a token reads %s\n", tool_bytes(in->packed_bytes),
	       tool_bytes(in->token_bytes));
	printf("  KV cache       %10s in f16, %s in int8\n", tool_bytes(in->kv_f16),
	       tool_bytes(in->kv_int8));
	printf("  activations    %10s, about\n", tool_bytes(in->scratch));
	printf("  together       %10s, about (f16 cache; the device's own memory comes on top)\n",
	       tool_bytes(in->packed_bytes + in->kv_f16 + in->scratch));
}

void info_print(const struct info *in)
{
	const struct gguf *g = in->g;
	char buf[24];

	printf("%s\n", in->path);
	printf("  file           %s, %s, %zu tensors\n", tool_bytes(gguf_file_bytes(g)),
	       in->shard ? "a packed shard" : g->container, in->n_tensors);
	printf("  architecture   %s\n", *in->arch ? in->arch : "not given");
	if (*in->name)
		printf("  name           %s\n", in->name);
	printf("  parameters     %s", count(in->n_params, buf));
	if (in->n_params && in->weight_bytes)
		printf(", %.2f bits each", bits_each(in->weight_bytes, in->n_params));
	printf("\n");
	if (in->known)
		print_shape(in);
	print_tokenizer(in);
	if (in->n_tensors)
		print_formats(in);
	if (in->list_tensors)
		print_tensors(in);
	if (in->known && !*in->why_not.msg)
		print_memory(in);
	else
		printf("\nsherd cannot run it: %s\n", in->why_not.msg);
}

/* ---------------------------------------------------------------------- JSON */

static json_t *json_count(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *shape_json(const struct info *in)
{
	const struct sherd_hparams *hp = &in->hp;
	bool shared = hp->n_experts && hp->arch->shared_expert;

	return json_pack("{s:i, s:[i,i], s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, "
			 "s:i, s:i, s:i, s:i, s:b}",
			 "layers", hp->n_layers, "layers_here", in->first_layer, in->end_layer,
			 "hidden", hp->hidden, "ffn", hp->ffn, "heads", hp->n_heads, "kv_heads",
			 hp->n_kv_heads, "head_dim", hp->head_dim, "vocab", hp->n_vocab,
			 "ctx_train", hp->n_ctx_train, "window", hp->window, "rope_dim",
			 hp->rope_dim, "rope_base", (double)hp->rope_theta, "rope_factor",
			 (double)hp->rope_factor, "experts", hp->n_experts, "experts_used",
			 hp->n_used, "ffn_expert", hp->ffn_expert, "ffn_shared",
			 shared ? hp->ffn_shared : 0, "encoder", hp->arch->encoder);
}

static json_t *memory_json(const struct info *in)
{
	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "ctx", in->n_ctx, "packed_bytes",
			 json_count(in->packed_bytes), "token_bytes", json_count(in->token_bytes),
			 "kv_f16_bytes", json_count(in->kv_f16), "kv_int8_bytes",
			 json_count(in->kv_int8), "scratch_bytes", json_count(in->scratch));
}

static json_t *formats_json(const struct info *in)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < in->n_formats; i++) {
		const struct info_format *f = &in->formats[i];

		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o}", "format", f->name,
						      "tensors", json_count(f->n_tensors),
						      "weights", json_count(f->params), "bytes",
						      json_count(f->bytes)));
	}
	return list;
}

static json_t *tensors_json(const struct info *in)
{
	json_t *list = json_array(), *dims;
	size_t i;
	int d;

	for (i = 0; i < in->n_tensors; i++) {
		const struct info_tensor *t = &in->tensors[i];

		dims = json_array();
		for (d = 0; d < t->n_dims; d++)
			json_array_append_new(dims, json_count(t->dims[d]));
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "name", t->name,
						      "format", t->format, "dims", dims, "bytes",
						      json_count(t->bytes)));
	}
	return list;
}

static json_t *tokenizer_json(const struct info *in)
{
	if (!in->tok)
		return json_null();
	return json_pack("{s:s, s:i, s:i, s:i}", "kind", sherd_tokenizer_describe(in->tok),
			 "tokens", sherd_tokenizer_n_vocab(in->tok), "bos",
			 (int)sherd_tokenizer_bos(in->tok), "eos",
			 (int)sherd_tokenizer_eos(in->tok));
}

int info_print_json(const struct info *in)
{
	bool runs = in->known && !*in->why_not.msg;
	json_t *root =
		json_pack("{s:o, s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:o}", "path",
			  tool_json_path(in->path), "architecture", in->arch, "name", in->name,
			  "packed", in->shard != NULL, "runs", runs, "file_bytes",
			  json_count(gguf_file_bytes(in->g)), "parameters", json_count(in->n_params),
			  "formats", formats_json(in), "tokenizer", tokenizer_json(in));
	int ret;

	if (root && in->known)
		json_object_set_new(root, "shape", shape_json(in));
	if (root && runs)
		json_object_set_new(root, "memory", memory_json(in));
	if (root && !runs)
		json_object_set_new(root, "why_not", tool_json_path(in->why_not.msg));
	if (root && in->list_tensors)
		json_object_set_new(root, "tensors", tensors_json(in));
	ret = !root || json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(root);
	if (ret)
		return tool_failf(&tool_info, "no memory for the report, or no room for it");
	printf("\n");
	return TOOL_OK;
}
