/* SPDX-License-Identifier: MIT */
/*
 * pack: writes a shard and says what that lost. Also shows and clears the cache of shards that
 * `sherd run` fills by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "model/shard.h"
#include "model/source.h"
#include "tool.h"

struct pack {
	const char *model_name, *out, *layers;
	struct sherd_pack_params params;
	bool force, verbose, json, list, clear;

	char *path; /* of the source */
	struct gguf *g;
	struct sherd_outfile file;
	struct sherd_shard *shard; /* what was written, read back */
	struct sherd_pack_report report;
	double seconds;
};

/* ------------------------------------------------------------------ command line */

/* "A-B", both of them in it, or one number. */
static int parse_layers(struct pack *p)
{
	const char *s = p->layers;
	char *end;
	long a, b;

	if (!s)
		return 0;
	a = b = strtol(s, &end, 10);
	if (end != s && *end == '-')
		b = strtol(s = end + 1, &end, 10);
	if (end == s || *end || a < 0 || b < a || b > 65534)
		return tool_usage(
			&tool_pack,
			"--layers: '%s' is not a range such as 0-10 (first and last layer)",
			p->layers);
	p->params.first_layer = (int)a;
	p->params.end_layer = (int)b + 1;
	return 0;
}

static int check_line(struct pack *p, int argc, char **argv)
{
	if (argc > 0 && !p->model_name) {
		p->model_name = *argv++;
		argc--;
	}
	if (argc > 0)
		return tool_usage(&tool_pack, "'%s' is one argument too many", argv[0]);
	if (p->list || p->clear)
		return p->model_name || p->out
			       ? tool_usage(&tool_pack,
					    "the cache's options take no MODEL and no -o")
			       : 0;
	if (!p->model_name)
		return tool_usage(&tool_pack, "which model? sherd pack MODEL -o SHARD");
	if (!p->out || !p->out[0])
		return tool_usage(&tool_pack, "where to? -o SHARD");
	if (p->params.bits && p->params.bits != 4 && p->params.bits != 8)
		return tool_usage(&tool_pack, "--bits: %d is neither 4 nor 8", p->params.bits);
	return parse_layers(p);
}

/* TOOL_OK: go on; *done: help was printed. */
static int parse(struct pack *p, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &p->model_name, 0, 0, "MODEL",
		  "the source, if not given as an argument" },
		{ 'o', "output", OPT_STR, &p->out, 0, 0, "SHARD", "the file to write" },
		{ 0, "layers", OPT_STR, &p->layers, 0, 0, "A-B",
		  "only layers A to B, both included, counted from 0 (default: all)" },
		{ 0, "bits", OPT_INT, &p->params.bits, 4, 8, "4|8",
		  "requantize F32/F16/BF16 weights, the embedding's and output's too; 4 also "
		  "rounds the levels of IQ4_NL, IQ4_XS, MXFP4, and the scales of Q2_K, Q3_K, Q4_K "
		  "(other quantized weights stay as they are)" },
		{ 'f', "force", OPT_FLAG, &p->force, 0, 0, NULL, "overwrite SHARD" },
		{ 'v', "verbose", OPT_FLAG, &p->verbose, 0, 0, NULL, "the loss of every tensor" },
		{ 0, "json", OPT_FLAG, &p->json, 0, 0, NULL, "the report as JSON" },
		{ 0, "list-cache", OPT_FLAG, &p->list, 0, 0, NULL,
		  "list the user's cache of shards" },
		{ 0, "clear-cache", OPT_FLAG, &p->clear, 0, 0, NULL,
		  "remove what is in it and not in use" },
		{ 0 },
	};
	int rc;

	rc = opt_parse(&tool_pack, opts, &argc, argv);
	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	return check_line(p, argc, argv);
}

/* ------------------------------------------------------------------------- packing */

static int check_output(const struct pack *p)
{
	struct stat out;

	if (stat(p->out, &out))
		return TOOL_OK;
	if (sherd_source_has(p->g, p->out))
		return tool_failf(&tool_pack, "%s: is the source itself", p->out);
	if (!p->force)
		return tool_failf(&tool_pack, "%s: is there already; -f overwrites it", p->out);
	return TOOL_OK;
}

/* Opens what was written, as any reader would, before it gets its name. */
static int read_back(struct pack *p, struct sherd_error *err)
{
	int fd = fcntl(p->file.fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return sherd_fail(err, -errno, "%s: %s", p->out, strerror(errno));
	return sherd_shard_open_fd(&p->shard, fd, p->out, err);
}

static int write_shard(struct pack *p, struct sherd_error *err)
{
	double start = sherd_now();
	int ret = sherd_outfile_open(&p->file, p->out, err);

	if (ret)
		return ret;
	ret = sherd_pack(p->g, p->file.fd, p->out, &p->params, &p->report, err);
	tool_progress_end();
	if (!ret)
		ret = read_back(p, err);
	if (ret)
		sherd_outfile_abort(&p->file);
	else
		ret = sherd_outfile_commit(&p->file, err);
	p->seconds = sherd_now() - start;
	return ret;
}

/* -------------------------------------------------------------------------- report */

static void print_kind(const struct sherd_pack_kind *k)
{
	printf("  %-14s -> %-20s %4zu %s  ", k->from, k->to, k->n,
	       k->n == 1 ? "matrix  " : "matrices");
	if (k->worst->rel_rms == 0)
		printf("exact\n");
	else
		printf("relative error %.5f, at most %.5f (%s)\n", k->mean,
		       k->worst->rel_rms, k->worst->tensor);
}

static int print_report(const struct pack *p)
{
	const struct sherd_pack_report *r = &p->report;
	struct sherd_pack_kind *kinds;
	size_t n, i;

	printf("%s: %s, layers %d-%d of %d, %.1f M parameters\n", p->out, p->shard->hp.arch->name,
	       p->shard->first_layer, p->shard->end_layer - 1, p->shard->hp.n_layers,
	       (double)p->shard->n_params * 1e-6);
	kinds = sherd_pack_kinds(r, &n);
	for (i = 0; kinds && i < n; i++)
		print_kind(&kinds[i]);
	free(kinds);
	for (i = 0; p->verbose && i < r->n_loss; i++)
		printf("  %-28s %-14s -> %-20s %.6f\n", r->loss[i].tensor, r->loss[i].from,
		       r->loss[i].to, r->loss[i].rel_rms);
	printf("  %s -> %s in %.1f s\n", tool_bytes(r->bytes_in), tool_bytes(r->bytes_out),
	       p->seconds);
	return tool_flush(&tool_pack) ? TOOL_OK : TOOL_FAILED;
}

static int print_json(json_t *j)
{
	int bad = !j || json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));

	json_decref(j);
	if (bad)
		return tool_failf(&tool_pack, "the report could not be written");
	putchar('\n');
	return tool_flush(&tool_pack) ? TOOL_OK : TOOL_FAILED;
}

static int report_json(const struct pack *p)
{
	const struct sherd_pack_report *r = &p->report;
	json_t *losses = json_array();
	size_t i;

	for (i = 0; i < r->n_loss; i++)
		json_array_append_new(losses,
				      json_pack("{ss ss ss sf}", "tensor", r->loss[i].tensor,
						"from", r->loss[i].from, "to", r->loss[i].to,
						"relative_rms_error", r->loss[i].rel_rms));
	return print_json(json_pack(
		"{ss ss ss si si si sI sI sI sf so}", "shard", p->out, "architecture",
		p->shard->hp.arch->name, "source_sha256", p->shard->source_sha256, "first_layer",
		p->shard->first_layer, "end_layer", p->shard->end_layer, "model_layers",
		p->shard->hp.n_layers, "parameters", (json_int_t)p->shard->n_params, "bytes_in",
		(json_int_t)r->bytes_in, "bytes_out", (json_int_t)r->bytes_out, "seconds",
		p->seconds, "tensors", losses));
}

static int pack_model(struct pack *p)
{
	struct sherd_error err;
	int rc;

	p->params.progress = tool_progress;
	p->params.note = tool_note;
	if (sherd_resolve_model(p->model_name, &p->path, &err) ||
	    sherd_source_open(&p->g, p->path, &err))
		return tool_fail(&tool_pack, &err);
	rc = check_output(p);
	if (rc)
		return rc;
	if (write_shard(p, &err))
		return tool_fail(&tool_pack, &err);
	return p->json ? report_json(p) : print_report(p);
}

/* --------------------------------------------------------------------------- cache */

static const char *age(int64_t used_at, char buf[32])
{
	int64_t s = MAX((int64_t)time(NULL) - used_at, 0);

	if (s < 120)
		snprintf(buf, 32, "now");
	else if (s < 2 * 3600)
		snprintf(buf, 32, "%lld minutes ago", (long long)s / 60);
	else if (s < 2 * 86400)
		snprintf(buf, 32, "%lld hours ago", (long long)s / 3600);
	else
		snprintf(buf, 32, "%lld days ago", (long long)s / 86400);
	return buf;
}

static int print_cache(const struct sherd_cache_list *list)
{
	char buf[32];
	size_t i;

	for (i = 0; i < list->n_entries; i++) {
		const struct sherd_cache_entry *e = &list->entries[i];

		printf("  %-38s %10s  used %s%s  %s\n", e->file, tool_bytes(e->bytes),
		       age(e->used_at, buf), e->in_use ? " (in use)" : "",
		       e->source[0] ? e->source : "(no name)");
	}
	printf("%s: %zu %s, %s of at most %s\n", list->dir, list->n_entries,
	       list->n_entries == 1 ? "shard" : "shards", tool_bytes(list->bytes),
	       tool_bytes(list->limit));
	return tool_flush(&tool_pack) ? TOOL_OK : TOOL_FAILED;
}

static int cache_json(const struct sherd_cache_list *list)
{
	json_t *entries = json_array();
	size_t i;

	for (i = 0; i < list->n_entries; i++) {
		const struct sherd_cache_entry *e = &list->entries[i];

		json_array_append_new(entries,
				      json_pack("{ss ss* sI sI sb}", "file", e->file, "name",
						e->source, "bytes", (json_int_t)e->bytes, "used_at",
						(json_int_t)e->used_at, "in_use", e->in_use));
	}
	return print_json(json_pack("{ss sI sI so}", "folder", list->dir, "bytes",
				    (json_int_t)list->bytes, "limit", (json_int_t)list->limit,
				    "shards", entries));
}

static int cache(const struct pack *p)
{
	struct sherd_cache_list list;
	struct sherd_error err;
	uint64_t freed = 0;
	int rc;

	if (p->clear && sherd_cache_clear(&freed, &err))
		return tool_fail(&tool_pack, &err);
	if (sherd_cache_list(&list, &err))
		return tool_fail(&tool_pack, &err);
	if (p->clear && !p->json)
		printf("%s freed\n", tool_bytes(freed));
	rc = p->json ? cache_json(&list) : print_cache(&list);
	sherd_cache_list_clear(&list);
	return rc;
}

static int pack_main(int argc, char **argv)
{
	struct pack p = { 0 };
	bool done = false;
	int rc = parse(&p, argc, argv, &done);

	if (rc || done)
		return rc;
	rc = p.list || p.clear ? cache(&p) : pack_model(&p);
	sherd_shard_close(p.shard);
	gguf_close(p.g);
	free(p.report.loss);
	free(p.path);
	return rc;
}

const struct tool tool_pack = {
	.name = "pack",
	.synopsis = "MODEL -o SHARD [--layers A-B] [--bits 4|8] [options]",
	.summary = "write a model, or a range of its layers, in the device layout",
	.about = "Brings a GGUF or Hugging Face model to the layout that devices read in place, "
		 "and prints what "
		 "that "
		 "lost: nothing, but for what --bits takes away. `sherd run` does this by itself and keeps the result in a cache; "
		 "packing by hand is for shards that go to a board, or that hold only some "
		 "layers.\n\n"
		 "  sherd pack model.gguf -o model.shard --bits 8\n"
		 "  sherd pack model.gguf -o tail.shard --layers 12-23\n"
		 "  sherd pack --list-cache",
	.main = pack_main,
};
