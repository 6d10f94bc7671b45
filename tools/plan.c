/* SPDX-License-Identifier: MIT */
/*
 * plan: cuts a model into stages for the boards of a cluster. Reads what boards there are, asks
 * them what they can do (survey.c), lets runtime/plan/ find the best pipeline, and says of every
 * board why it has the layers that it has, or none. With --measure it is the board that measures
 * itself.
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>
#include "plan/spares.h"
#include "profile.h"
#include "survey.h"

static const char about[] =
	"Decides which layers of a model go to which board, from what each board can do, so that a "
	"prompt's first token comes as soon as possible (--objective latency), or as many requests as "
	"possible are served at a time (throughput). Boards that would only slow things down are "
	"left out, and become spares.\n"
	"\n"
	"Where `sherd node` runs on the boards, they measure themselves and the links between them:\n"
	"  sherd plan -m model.gguf --cluster cluster.json -o plan.json\n"
	"  sherd push plan.json && sherd plan --verify plan.json\n"
	"with a cluster.json such as\n"
	"  { \"nodes\": [ { \"name\": \"kitchen\", \"address\": \"10.0.0.2:7433\", \"memory\": \"2GiB\" },\n"
	"               { \"name\": \"hall\", \"address\": \"10.0.0.3:7433\" } ] }\n"
	"What the file says is not measured: a node may have \"profile\": \"kitchen.json\", which\n"
	"  sherd plan --measure -m model.gguf -o kitchen.json\n"
	"made on the board, or \"slower\"; the file may have \"links\" and a \"default_link\".";

/* ------------------------------------------------------------ command line */

static int check_measure(const struct plan *p)
{
	if (p->cluster_file)
		return tool_usage(&tool_plan,
				  "--measure is about this machine, --cluster about others");
	if (!p->out)
		return tool_usage(&tool_plan, "where to? -o FILE");
	return TOOL_OK;
}

static int check_names(struct plan *p)
{
	int objective = 0, wire = 0, kv = 0, rc;

	rc = tool_pick(&tool_plan, "--objective", p->objective_name, sherd_objective_names, 2,
		       &objective);
	if (!rc)
		rc = tool_pick(&tool_plan, "--wire", p->wire_name, sherd_wire_names, 3, &wire);
	if (!rc)
		rc = tool_pick(&tool_plan, "--kv", p->kv_name, sherd_kv_names, 3, &kv);
	p->problem.objective = (enum sherd_objective)objective;
	p->problem.wire = (enum sherd_wire)wire;
	p->params.kv_type = (enum sherd_kv_type)kv;
	if (p->problem.n_predict < 0)
		p->problem.n_predict = objective == SHERD_THROUGHPUT ? 128 : 0;
	return rc;
}

static int check_verify(const struct plan *p, int argc, char **argv)
{
	if (argc)
		return tool_usage(&tool_plan, "'%s' is one argument too many", argv[0]);
	if (p->model || p->cluster_file || p->measure || p->out)
		return tool_usage(&tool_plan,
				  "--verify PLAN is about a plan that is made; model and nodes "
				  "are in it");
	return TOOL_OK;
}

static int check_line(struct plan *p, int argc, char **argv)
{
	if (p->verify)
		return check_verify(p, argc, argv);
	if (argc > 0 && !p->model)
		p->model = argv[0], argc--, argv++;
	if (argc)
		return tool_usage(&tool_plan, "'%s' is one argument too many", argv[0]);
	if (!p->model)
		return tool_usage(&tool_plan, "which model? Give a file with -m MODEL");
	if (p->params.bits && p->params.bits != 4 && p->params.bits != 8)
		return tool_usage(&tool_plan, "--bits: %d is neither 4 nor 8", p->params.bits);
	if (p->measure && check_measure(p))
		return TOOL_USAGE;
	if (!p->measure && !p->cluster_file)
		return tool_usage(&tool_plan,
				  "which boards? --cluster FILE, or --measure for this one");
	return check_names(p);
}

static int parse(struct plan *p, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		TOOL_MODEL_OPTS(p->model, p->params),
		{ 0, "cluster", OPT_STR, &p->cluster_file, 0, 0, "FILE",
		  "the boards (JSON); what it does not say, running nodes are asked" },
		{ 0, "verify", OPT_STR, &p->verify, 0, 0, "PLAN",
		  "run a plan on its nodes, and compare with what it predicts" },
		{ 0, "repetitions", OPT_INT, &p->repetitions, 1, 1000, "N",
		  "with --verify: how often (default: 7)" },
		{ 0, "remeasure", OPT_FLAG, &p->again, 0, 0, NULL,
		  "nodes are to measure themselves, though they remember" },
		{ 0, "objective", OPT_STR, &p->objective_name, 0, 0, "NAME",
		  "latency: the first token soon; throughput: many requests a second (default: "
		  "latency)" },
		{ 0, "prompt-tokens", OPT_INT, &p->problem.n_prompt, 1, 1 << 20, "N",
		  "tokens of a request's prompt (default: 128)" },
		{ 'n', "n-predict", OPT_INT, &p->problem.n_predict, 0, 1 << 20, "N",
		  "tokens generated that count too (default: latency 0, throughput 128)" },
		{ 0, "sessions", OPT_INT, &p->problem.n_sessions, 1, SHERD_STEP_MAX, "N",
		  "sessions at a time, each with room for the context (default: 1)" },
		{ 0, "wire", OPT_STR, &p->wire_name, 0, 0, "TYPE",
		  "activations between boards: int8, f16 or f32 (default: int8)" },
		{ 0, "kv", OPT_STR, &p->kv_name, 0, 0, "TYPE",
		  "KV cache: f16, int8 or f32 (default: f16)" },
		{ 0, "reserve", OPT_INT, &p->reserve_mib, 0, 1 << 20, "MIB",
		  "MiB of each board's memory to leave alone, for OpenCL and the like (default: "
		  "256)" },
		{ 'o', "output", OPT_STR, &p->out, 0, 0, "FILE",
		  "write the plan, or the profile, there" },
		{ 0, "all", OPT_FLAG, &p->all, 0, 0, NULL,
		  "give every board a stage, also where that slows things down" },
		{ 0, "no-spares", OPT_FLAG, &p->no_spares, 0, 0, NULL,
		  "boards without a stage are not to stand in for one that fails" },
		{ 0, "json", OPT_FLAG, &p->json, 0, 0, NULL, "the plan and its reasons as JSON" },
		{ 0, "measure", OPT_FLAG, &p->measure, 0, 0, NULL,
		  "measure this machine with the model, and write its profile" },
		{ 0, "offline", OPT_FLAG, &p->offline, 0, 0, NULL,
		  "ask no node: those without a profile are left out" },
		{ 0, "seconds", OPT_FLOAT, &p->seconds, 0.1, 3600, "S",
		  "how long to measure a board, about (default: 10)" },
		TOOL_NET_OPTS(p->net),
		{ 0, "dilate", OPT_FLOAT, &p->dilate, 1, 1000, "K",
		  "for benchmarks: measure a board that is K times as slow, as sherd node --dilate is" },
		{ 0 }
	};
	int rc = opt_parse(&tool_plan, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	return check_line(p, argc, argv);
}

/* ----------------------------------------------------------------- measure */

static int measure(const struct plan *p)
{
	struct sherd_profile *profile;
	struct sherd_error err;
	int rc = profile_measure(&profile, p->model, &p->params, (double)p->seconds, p->dilate,
				 &err);

	tool_progress_end();
	if (rc)
		return tool_fail(&tool_plan, &err);
	rc = sherd_json_write(sherd_profile_to_json(profile), p->out, &err);
	sherd_profile_free(profile);
	return rc ? tool_fail(&tool_plan, &err) : TOOL_OK;
}

/* ---------------------------------------------------------------- planning */

/* What the file does not say, running nodes are asked. */
static int get_profiles(struct plan *p)
{
	const struct survey_params q = { .tool = &tool_plan,
					 .net = &p->net,
					 .model = p->path,
					 .sizes = p->sizes,
					 .params = &p->params,
					 .cluster = p->cluster,
					 .seconds = (double)p->seconds,
					 .again = p->again };

	int known = 0;

	for (int i = 0; i < p->cluster->n_nodes; i++)
		known += !!p->cluster->nodes[i].profile;
	if (known < p->cluster->n_nodes && !p->offline)
		return survey(&q);
	if (known)
		return TOOL_OK;
	return tool_failf(
		&tool_plan,
		"%s: no node has a profile: run sherd plan --measure -m MODEL -o FILE on each, and "
		"name the files here; or do without --offline",
		p->cluster_file);
}

static int check_profile(const struct plan *p, const struct sherd_cluster_node *n,
			 struct sherd_error *err)
{
	const struct sherd_profile *f = n->profile;

	if (!f)
		return 0;
	if (strcmp(f->model_hash, p->sizes->hash) || f->n_layers != p->sizes->n_layers)
		return sherd_fail(err, -EINVAL,
				  "%s: node \"%s\": its profile is of another model (%s%s%.8s, "
				  "not %.8s); measure it with this one: sherd plan "
				  "--measure",
				  p->cluster_file, n->name, f->model_name,
				  f->model_name[0] ? ", " : "", f->model_hash, p->sizes->hash);
	if (!sherd_profile_width(f, p->sizes->bits))
		return sherd_fail(err, -EINVAL,
				  "%s: node \"%s\": its profile has no measurement at \"%s\" "
				  "bits; measure them: sherd plan --measure%s%s",
				  p->cluster_file, n->name, sherd_bits_name(p->sizes->bits),
				  p->sizes->bits ? " --bits " : "",
				  p->sizes->bits ? sherd_bits_name(p->sizes->bits) : "");
	return 0;
}

static int check_request(const struct plan *p, struct sherd_error *err)
{
	const struct sherd_problem *q = &p->problem;

	if (q->n_prompt <= q->n_ctx - q->n_predict)
		return 0;
	return sherd_fail(
		err, -EINVAL,
		"a request of %d and %d tokens is more than the context of %d (-c, at most %d here)",
		q->n_prompt, q->n_predict, q->n_ctx, p->sizes->n_ctx_train);
}

static int open_all(struct plan *p)
{
	struct sherd_problem *q = &p->problem;
	struct sherd_error err;
	int rc = sherd_cluster_read(&p->cluster, p->cluster_file, &err);

	if (!rc)
		rc = model_sizes(&p->sizes, p->model, &p->params, &q->n_ctx, &p->path, &err);
	if (!rc)
		rc = check_request(p, &err);
	tool_progress_end();
	if (rc)
		return tool_fail(&tool_plan, &err);
	rc = get_profiles(p);
	if (rc)
		return rc;
	for (int i = 0; !rc && i < p->cluster->n_nodes; i++)
		rc = check_profile(p, &p->cluster->nodes[i], &err);
	if (rc)
		return tool_fail(&tool_plan, &err);
	q->sizes = p->sizes;
	q->cluster = p->cluster;
	q->reserve = (uint64_t)p->reserve_mib << 20;
	return TOOL_OK;
}

static bool has_stage(const struct plan *p, int node)
{
	for (int i = 0; i < p->pipe.n_stages; i++)
		if (p->pipe.stages[i].node == node)
			return true;
	return false;
}

/* The least that any stage takes, of a layer in the middle. */
static uint64_t smallest_stage(const struct plan *p)
{
	uint64_t least = UINT64_MAX;
	struct sherd_need need;

	for (int l = 0; l < p->sizes->n_layers; l++) {
		sherd_cost_need(&p->problem, l, l + 1, p->pipe.chunk, &need);
		least = MIN(least, need.total);
	}
	return least;
}

static void explain(struct plan *p, struct plan_left_out *o)
{
	const struct sherd_cluster_node *n = &p->cluster->nodes[o->node];
	const char *what = p->problem.objective == SHERD_LATENCY ? "first token" : "request";
	struct sherd_prediction with;
	struct sherd_pipeline pipe;
	bool exact;

	if (!n->profile) {
		snprintf(o->why, sizeof(o->why), "has no profile, and was not asked (--offline)");
		return;
	}
	if (sherd_partition(&p->problem, (uint64_t)1 << o->node, SHERD_SEARCH_NARROW, &pipe, &exact,
			    NULL)) {
		snprintf(o->why, sizeof(o->why),
			 "its %s are too little for one layer, which takes %s",
			 tool_bytes(sherd_cluster_memory(n)), tool_bytes(smallest_stage(p)));
		return;
	}
	sherd_cost_predict(&p->problem, &pipe, &with);
	o->adds_us =
		sherd_cost_value(&p->problem, &with) - sherd_cost_value(&p->problem, &p->predicted);
	if (o->adds_us < 1)
		snprintf(o->why, sizeof(o->why), "would change nothing");
	else
		snprintf(o->why, sizeof(o->why), "would add %.2f ms to a %s", o->adds_us * 1e-3,
			 what);
}

static void explain_left_out(struct plan *p)
{
	for (int i = 0; i < p->cluster->n_nodes; i++)
		if (!has_stage(p, i)) {
			p->left_out[p->n_left_out].node = i;
			explain(p, &p->left_out[p->n_left_out++]);
		}
}

/* -------------------------------------------------------------------- plan */

static int add_node(struct plan *p, int node, uint64_t memory)
{
	struct sherd_plan_node *n = &p->plan.nodes[p->plan.n_nodes];

	memcpy(n->name, p->cluster->nodes[node].name, sizeof(n->name));
	memcpy(n->address, p->cluster->nodes[node].address, sizeof(n->address));
	n->memory = memory;
	return p->plan.n_nodes++;
}

static void add_spares(struct plan *p)
{
	struct sherd_spare spares[SHERD_CLUSTER_NODES];

	sherd_spares_choose(&p->problem, &p->pipe, spares);
	for (int i = 0; i < p->cluster->n_nodes; i++)
		if (spares[i].stages)
			p->plan.spares[p->plan.n_spares++] = (struct sherd_plan_spare){
				.node = add_node(p, i, spares[i].memory),
				.stages = spares[i].stages,
			};
}

static void fill_model(struct plan *p)
{
	struct sherd_plan *q = &p->plan;
	struct json_t *path = tool_json_path(p->path);

	memcpy(q->model_name, p->sizes->name, sizeof(q->model_name));
	memcpy(q->model_hash, p->sizes->hash, sizeof(q->model_hash));
	memcpy(q->arch, p->sizes->arch, sizeof(q->arch));
	if (json_is_string(path) && strlen(p->path) < sizeof(q->model_path))
		strcpy(q->model_path, p->path);
	json_decref(path);
	q->n_layers = p->sizes->n_layers;
	q->hidden = p->sizes->hidden;
	q->bits = p->sizes->bits;
	q->wire = p->problem.wire;
	q->kv = p->params.kv_type;
	q->n_ctx = p->problem.n_ctx;
	q->n_sessions = p->problem.n_sessions;
	q->chunk = p->pipe.chunk;
}

static void fill_predicted(struct plan *p)
{
	struct sherd_plan_predicted *d = &p->plan.predicted;

	d->known = true;
	d->objective = p->problem.objective;
	d->n_prompt = p->problem.n_prompt;
	d->first_token_ms = p->predicted.first_us * 1e-3;
	d->tokens_per_s = p->predicted.tokens_per_s;
	for (int i = 0; i < p->pipe.n_stages; i++) {
		const struct sherd_stage_time *t = &p->predicted.stage[i];

		d->stage[i].chunk_ms = t->chunk_us * 1e-3;
		d->stage[i].token_ms = t->token_us * 1e-3;
		d->stage[i].link_ms = t->link_chunk_us * 1e-3;
		d->stage[i].busy = t->busy;
	}
}

static void fill_plan(struct plan *p)
{
	fill_model(p);
	p->plan.n_stages = p->pipe.n_stages;
	for (int i = 0; i < p->pipe.n_stages; i++) {
		p->plan.stages[i] = p->pipe.stages[i];
		p->plan.stages[i].node = add_node(p, p->pipe.stages[i].node, p->needs[i].total);
	}
	if (!p->no_spares)
		add_spares(p);
	fill_predicted(p);
}

/* Links that nobody described are worth a word where the plan rests on them. */
static void note_links(const struct plan *p)
{
	const struct sherd_cluster *c = p->cluster;
	int from = c->n_nodes, n = 0;

	for (int i = 0; i <= p->pipe.n_stages; i++) {
		int to = i < p->pipe.n_stages ? p->pipe.stages[i].node : c->n_nodes;

		n += sherd_cluster_link(c, from, to)->assumed;
		from = to;
	}
	if (n)
		fprintf(stderr,
			"sherd: %s does not describe %d of the links: taken as %g Mbit/s and %g us "
			"(default_link)\n",
			p->cluster_file, n, sherd_cluster_link(c, 0, 0)->mbit,
			sherd_cluster_link(c, 0, 0)->rtt_us);
}

static int report(const struct plan *p)
{
	struct sherd_error err;
	int rc = TOOL_OK;

	if (p->out && sherd_plan_write(&p->plan, p->out, &err))
		return tool_fail(&tool_plan, &err);
	note_links(p);
	if (p->json)
		rc = plan_print_json(p);
	else
		plan_print_table(p);
	if (!tool_flush(&tool_plan))
		rc = TOOL_FAILED;
	return rc;
}

static int make_plan(struct plan *p)
{
	struct sherd_error err;
	int rc = open_all(p);
	uint64_t all = 0;

	if (rc)
		return rc;
	if (p->all)
		all = UINT64_MAX >> (64 - p->cluster->n_nodes);
	if (sherd_partition(&p->problem, all, SHERD_SEARCH_WIDE, &p->pipe, &p->exact, &err))
		return tool_fail(&tool_plan, &err);
	sherd_cost_predict(&p->problem, &p->pipe, &p->predicted);
	for (int i = 0; i < p->pipe.n_stages; i++)
		sherd_cost_need(&p->problem, p->pipe.stages[i].first, p->pipe.stages[i].end,
				p->pipe.chunk, &p->needs[i]);
	explain_left_out(p);
	fill_plan(p);
	return report(p);
}

static int plan_main(int argc, char **argv)
{
	struct plan p = { .params = SHERD_MODEL_PARAMS_INIT,
			  .objective_name = "latency",
			  .wire_name = "int8",
			  .kv_name = "f16",
			  .reserve_mib = 256,
			  .seconds = 10,
			  .repetitions = 7,
			  .problem = { .n_prompt = 128, .n_predict = -1, .n_sessions = 1 } };
	bool done = false;
	int rc;

	p.params.progress = tool_progress;
	p.params.note = tool_note;
	rc = parse(&p, argc, argv, &done);
	if (!rc && !done)
		rc = p.measure ? measure(&p) : p.verify ? plan_verify(&p) : make_plan(&p);
	sherd_cluster_free(p.cluster);
	sherd_sizes_free(p.sizes);
	free(p.path);
	return rc;
}

const struct tool tool_plan = {
	.name = "plan",
	.synopsis =
		"-m MODEL (--cluster FILE [-o PLAN] | --measure -o FILE) | --verify PLAN [options]",
	.summary = "cut a model into stages for several boards",
	.about = about,
	.main = plan_main,
};
