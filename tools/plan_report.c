/* SPDX-License-Identifier: MIT */
/*
 * plan_report: a plan for people, and for programs. The table says why: what a board's memory is
 * spent on, which stage everything waits for, and of each board without a stage what it would cost
 * to have it in.
 */
#include <jansson.h>
#include "plan.h"

static const char *node_name(const struct plan *p, int node)
{
	return node == p->cluster->n_nodes ? "head" : p->cluster->nodes[node].name;
}

/* "kitchen", "the link to kitchen" */
static const char *machine_name(const struct plan *p, int machine, char buf[96])
{
	snprintf(buf, 96, "%s%s", machine % 2 ? "" : "the link to ",
		 node_name(p, p->pipe.stages[machine / 2].node));
	return buf;
}

static const char *bits_text(int bits)
{
	return bits == 4 ? "weights of 4 bits" : bits == 8 ? "weights of 8 bits" :
							     "weights as the file has them";
}

/* ------------------------------------------------------------------- table */

static void print_heading(const struct plan *p)
{
	const struct sherd_problem *q = &p->problem;
	const struct sherd_sizes *z = p->sizes;

	printf("%s (%s, %d layers of %d, %s)\n", z->name[0] ? z->name : p->model, z->arch,
	       z->n_layers, z->hidden, bits_text(z->bits));
	printf("%s: prompt of %d tokens in chunks of %d", sherd_objective_names[q->objective],
	       q->n_prompt, p->pipe.chunk);
	if (q->n_predict)
		printf(", %d generated", q->n_predict);
	printf("; room for %d x %d tokens; %s on the wire, %s in the KV cache\n\n", q->n_sessions,
	       q->n_ctx, sherd_wire_names[q->wire], sherd_kv_names[p->params.kv_type]);
}

static void print_stage(const struct plan *p, int i, int width)
{
	const struct sherd_stage_span *s = &p->pipe.stages[i];
	const struct sherd_stage_time *t = &p->predicted.stage[i];
	const struct sherd_need *n = &p->needs[i];
	int to = i + 1 < p->pipe.n_stages ? s[1].node : p->cluster->n_nodes;
	char layers[24];

	snprintf(layers, sizeof(layers), "%d-%d", s->first, s->end - 1);
	printf("%-*s %7s %10s %10s %10s of %10s %8.2f ms %8.2f ms %4.0f %% %7.2f ms to %s\n", width,
	       node_name(p, s->node), layers, tool_bytes(n->weights), tool_bytes(n->kv),
	       tool_bytes(n->total), tool_bytes(sherd_cluster_memory(&p->cluster->nodes[s->node])),
	       t->chunk_us * 1e-3, t->token_us * 1e-3, t->busy * 100, t->link_chunk_us * 1e-3,
	       node_name(p, to));
}

static void print_stages(const struct plan *p)
{
	int width = 6;

	for (int i = 0; i < p->pipe.n_stages; i++)
		width = MAX(width, (int)strlen(node_name(p, p->pipe.stages[i].node)));
	printf("%-*s %7s %10s %10s %10s    %10s %11s %11s %6s %s\n", width, "node", "layers",
	       "weights", "KV cache", "memory", "allowed", "chunk", "token", "busy", "   link");
	for (int i = 0; i < p->pipe.n_stages; i++)
		print_stage(p, i, width);
}

static void print_predicted(const struct plan *p)
{
	const struct sherd_prediction *d = &p->predicted;
	char buf[96];

	printf("\nfirst token after %.2f ms: no sooner than the %.2f ms that %s takes for the "
	       "prompt; boards "
	       "wait %.0f %% of the time\n",
	       d->first_us * 1e-3, d->bound_us * 1e-3, machine_name(p, d->slowest, buf),
	       d->bubble * 100);
	if (p->problem.objective == SHERD_LATENCY)
		printf("then %.1f tokens/s\n", d->tokens_per_s);
	else
		printf("%d sessions, %d in a step: %.2f requests/s, %.1f tokens/s while decoding; "
		       "%s has the "
		       "most to do\n",
		       p->problem.n_sessions, p->pipe.group, 1e6 / d->request_us, d->tokens_per_s,
		       machine_name(p, d->busiest, buf));
	if (!p->exact)
		printf("with so many boards not every pipeline was looked at: a better one may "
		       "exist\n");
}

static void print_others(const struct plan *p)
{
	for (int i = 0; i < p->n_left_out; i++)
		printf("left out: %s: %s\n", node_name(p, p->left_out[i].node), p->left_out[i].why);
	for (int i = 0; i < p->plan.n_spares; i++) {
		const struct sherd_plan_spare *s = &p->plan.spares[i];
		const char *comma = "";

		printf("spare: %s can take the place of ", p->plan.nodes[s->node].name);
		for (int k = 0; k < p->plan.n_stages; k++) {
			if (!(s->stages >> k & 1))
				continue;
			printf("%s%s", comma, p->plan.nodes[p->plan.stages[k].node].name);
			comma = ", ";
		}
		printf("\n");
	}
}

/* The links that were measured; each holds both ways. */
static void print_links(const struct plan *p)
{
	for (int from = 0; from <= p->cluster->n_nodes; from++)
		for (int to = 0; to < from; to++) {
			const struct sherd_cluster_link *l =
				sherd_cluster_link(p->cluster, from, to);

			if (l->measured)
				printf("link: %s - %s: %.4g Mbit/s, round trip %.0f us\n",
				       node_name(p, from), node_name(p, to), l->mbit, l->rtt_us);
		}
}

void plan_print_table(const struct plan *p)
{
	print_heading(p);
	print_stages(p);
	print_predicted(p);
	print_others(p);
	print_links(p);
}

/* -------------------------------------------------------------------- JSON */

static json_t *stages_json(const struct plan *p)
{
	json_t *j = json_array();

	for (int i = 0; i < p->pipe.n_stages; i++) {
		const struct sherd_need *n = &p->needs[i];
		int node = p->pipe.stages[i].node;

		json_array_append_new(
			j, json_pack("{ss sI sI sI sI sI sI sI}", "node", node_name(p, node),
				     "weights", (json_int_t)n->weights, "kv", (json_int_t)n->kv,
				     "scratch", (json_int_t)n->scratch, "journal",
				     (json_int_t)n->journal, "reserve", (json_int_t)n->reserve,
				     "memory", (json_int_t)n->total, "allowed",
				     (json_int_t)sherd_cluster_memory(&p->cluster->nodes[node])));
	}
	return j;
}

static json_t *left_out_json(const struct plan *p)
{
	json_t *j = json_array();

	for (int i = 0; i < p->n_left_out; i++)
		json_array_append_new(
			j, json_pack("{ss ss sf}", "node", node_name(p, p->left_out[i].node), "why",
				     p->left_out[i].why, "adds_ms", p->left_out[i].adds_us * 1e-3));
	return j;
}

static json_t *links_json(const struct plan *p)
{
	json_t *j = json_array();

	for (int from = 0; from <= p->cluster->n_nodes; from++)
		for (int to = 0; to < from; to++) {
			const struct sherd_cluster_link *l =
				sherd_cluster_link(p->cluster, from, to);

			json_array_append_new(
				j, json_pack("{ss ss sf sf sb}", "from", node_name(p, from), "to",
					     node_name(p, to), "mbit", l->mbit, "rtt_us", l->rtt_us,
					     "measured", l->measured));
		}
	return j;
}

int plan_print_json(const struct plan *p)
{
	const struct sherd_prediction *d = &p->predicted;
	char buf[96];
	json_t *j =
		json_pack("{so sb so so so sf sf ss sf si}", "plan", sherd_plan_to_json(&p->plan),
			  "exact", p->exact, "memory", stages_json(p), "left_out", left_out_json(p),
			  "links", links_json(p), "bound_ms", d->bound_us * 1e-3, "bubble",
			  d->bubble, "slowest", machine_name(p, d->slowest, buf), "request_ms",
			  d->request_us * 1e-3, "group", p->pipe.group);
	int bad = !j || json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));

	json_decref(j);
	if (bad)
		return tool_failf(&tool_plan, "the plan could not be written");
	putchar('\n');
	return TOOL_OK;
}
