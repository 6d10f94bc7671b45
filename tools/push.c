/* SPDX-License-Identifier: MIT */
/*
 * push: gives every node of a plan the shards that it is to serve, or may have to. They are packed
 * here, from the model that the plan was made for; a node is sent what it lacks.
 */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "model/shard.h"
#include "net/push.h"
#include "netopt.h"
#include "plan/plan.h"
#include "same_model.h"
#include "store.h"

/* A stage's shard, packed. */
struct piece {
	struct sherd_shard *shard;
	struct sherd_offer offer;
};

struct target {
	struct push_tool *tool;
	int node; /* of the plan */
	struct sherd_push *push;
	struct sherd_push_file files[SHERD_CLUSTER_NODES];
	int n_files, file;
	uint64_t done_before, done; /* bytes of the files before, of the present one */
	uint64_t total, sent;
	bool ended, failed;
	struct sherd_error err;
};

struct push_tool {
	/* the command line */
	const char *plan_path, *model_name;
	struct net_opts net_opts;

	struct sherd_plan *plan;
	char *model;
	struct netopt net;
	struct piece pieces[SHERD_CLUSTER_NODES];
	struct target targets[SHERD_CLUSTER_NODES];
	int n_targets;
};

static int parse(struct push_tool *t, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &t->model_name, 0, 0, "MODEL",
		  "where the plan's model is on this machine (default: where the plan was made)" },
		TOOL_NET_OPTS(t->net_opts),
		{ 0 }
	};
	int rc = opt_parse(&tool_push, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc != 1)
		return tool_usage(&tool_push,
				  argc ? "'%s' is one argument too many" : "which plan?",
				  argc ? argv[1] : "");
	t->plan_path = argv[0];
	return TOOL_OK;
}

/* -------------------------------------------------------------- packing */

static int pack_piece(struct push_tool *t, int stage, struct sherd_error *err)
{
	const struct sherd_plan *plan = t->plan;
	const struct sherd_stage_span *span = &plan->stages[stage];
	const struct sherd_pack_params p = { .bits = plan->bits, .first_layer = span->first,
					     .end_layer = span->end, .progress = tool_progress,
					     .note = tool_note };
	struct sherd_stage_spec spec = { .bits = plan->bits,
					 .first = span->first,
					 .end = span->end };
	struct piece *piece = &t->pieces[stage];
	bool in_memory;
	int rc = sherd_shard_get(&piece->shard, t->model, &p, false, &in_memory, err);

	tool_progress_end();
	if (rc)
		return rc;
	memcpy(spec.model, plan->model_hash, sizeof(spec.model));
	store_name(&spec, piece->offer.name);
	piece->offer.size = piece->shard->gguf->map.size;
	sherd_sha256(piece->shard->gguf->map.data, piece->offer.size, piece->offer.sha256);
	return 0;
}

static int pack_all(struct push_tool *t)
{
	const char *name = t->model_name ? t->model_name : t->plan->model_path;
	struct sherd_error err;
	int rc = sherd_resolve_model(name, &t->model, &err);

	/* Another model's weights are not packed for nothing, however long it takes to read them. */
	if (!rc)
		rc = same_model(t->plan, t->model, UINT64_MAX, &err);
	for (int k = 0; !rc && k < t->plan->n_stages; k++)
		rc = pack_piece(t, k, &err);
	return rc ? tool_fail(&tool_push, &err) : TOOL_OK;
}

/* -------------------------------------------------------------- sending */

static bool needs(const struct sherd_plan *plan, int node, int stage)
{
	if (plan->stages[stage].node == node)
		return true;
	for (int i = 0; i < plan->n_spares; i++)
		if (plan->spares[i].node == node && plan->spares[i].stages >> stage & 1)
			return true;
	return false;
}

static void progress(void *ctx, int file, uint64_t done, uint64_t total)
{
	struct target *x = ctx;
	uint64_t all = 0, there = 0;

	(void)total;
	for (; x->file < file; x->file++)
		x->done_before += x->files[x->file].offer.size;
	x->done = done;
	for (int i = 0; i < x->tool->n_targets; i++) {
		all += x->tool->targets[i].total;
		there += x->tool->targets[i].done_before + x->tool->targets[i].done;
	}
	tool_progress(NULL, "sending", there, all);
}

static void ended(void *ctx, const struct sherd_error *why, uint64_t sent)
{
	struct target *x = ctx;

	x->ended = true;
	x->sent = sent;
	x->failed = why;
	if (why)
		x->err = *why;
	sherd_loop_stop(x->tool->net.loop);
}

static int start_target(struct push_tool *t, int node, struct sherd_error *err)
{
	const struct sherd_plan_node *n = &t->plan->nodes[node];
	struct target *x = &t->targets[t->n_targets];
	struct sherd_push_params p = { .net = &t->net.loop->net,
				       .name = n->name,
				       .address = n->address,
				       .files = x->files,
				       .progress = progress,
				       .ended = ended,
				       .ctx = x };

	x->tool = t;
	x->node = node;
	for (int k = 0; k < t->plan->n_stages; k++)
		if (needs(t->plan, node, k)) {
			x->files[x->n_files++] = (struct sherd_push_file){
				t->pieces[k].offer, t->pieces[k].shard->gguf->map.data };
			x->total += t->pieces[k].offer.size;
		}
	if (!x->n_files)
		return 0;
	t->n_targets++;
	p.n_files = x->n_files;
	return sherd_push_new(&x->push, &p, err);
}

static bool all_ended(const struct push_tool *t)
{
	for (int i = 0; i < t->n_targets; i++)
		if (!t->targets[i].ended)
			return false;
	return true;
}

static int send_all(struct push_tool *t)
{
	struct sherd_error err;
	int rc = 0;

	for (int i = 0; !rc && i < t->plan->n_nodes; i++)
		rc = start_target(t, i, &err);
	while (!rc && !all_ended(t))
		rc = sherd_loop_run(t->net.loop, &err);
	tool_progress_end();
	return rc ? tool_fail(&tool_push, &err) : TOOL_OK;
}

/* One line a node; the sentences of those that failed. */
static int report(const struct push_tool *t)
{
	int rc = TOOL_OK;

	for (int i = 0; i < t->n_targets; i++) {
		const struct target *x = &t->targets[i];

		if (x->failed)
			rc = tool_fail(&tool_push, &x->err);
		else if (x->sent)
			printf("%s: %d %s, %s sent\n", t->plan->nodes[x->node].name, x->n_files,
			       x->n_files == 1 ? "shard" : "shards", tool_bytes(x->sent));
		else
			printf("%s: has all that it needs\n", t->plan->nodes[x->node].name);
	}
	return tool_flush(&tool_push) ? rc : TOOL_FAILED;
}

static int push_main(int argc, char **argv)
{
	const char *addresses[SHERD_CLUSTER_NODES];
	struct push_tool t = { 0 };
	struct sherd_error err;
	bool done;
	int rc = parse(&t, argc, argv, &done);

	if (rc || done)
		return rc;
	if (sherd_plan_read(&t.plan, t.plan_path, &err))
		return tool_fail(&tool_push, &err);
	for (int i = 0; i < t.plan->n_nodes; i++)
		addresses[i] = t.plan->nodes[i].address;
	rc = netopt_open(&t.net, &tool_push, &t.net_opts, "head", addresses, t.plan->n_nodes);
	if (!rc)
		rc = pack_all(&t);
	if (!rc)
		rc = send_all(&t);
	if (!rc)
		rc = report(&t);
	for (int i = 0; i < t.n_targets; i++)
		sherd_push_free(t.targets[i].push);
	netopt_close(&t.net);
	for (int k = 0; k < t.plan->n_stages; k++)
		sherd_shard_close(t.pieces[k].shard);
	free(t.model);
	free(t.plan);
	return rc;
}

const struct tool tool_push = {
	.name = "push",
	.synopsis = "PLAN [-m MODEL] [options]",
	.summary = "give the nodes of a plan their shards",
	.about =
		"Packs the shard of each stage of a plan and sends it to the node that serves it, and to the "
		"spares that may take its place. A node is sent only what it lacks; a transfer that was cut "
		"off goes on where it stopped.\n\n"
		"  sherd push plan.json\n"
		"  sherd push plan.json -m /mnt/models/model.gguf",
	.main = push_main,
};
