/* SPDX-License-Identifier: MIT */
/*
 * status: asks nodes how they are doing: what they serve, for whom, how fast, and what waits.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "net/message.h"
#include "netopt.h"
#include "plan/plan.h"

#define PATIENCE_US 5000000u

struct asked {
	struct status_tool *tool;
	const char *name, *address; /* name NULL: not known */
	struct sherd_link *link;
	json_t *answer;
	struct sherd_error err;
	bool greeted, done;
};

struct status_tool {
	/* the command line */
	const char *plan_path;
	struct net_opts net_opts;
	bool json;

	struct sherd_plan *plan;
	struct netopt net;
	struct asked asked[SHERD_CLUSTER_NODES];
	int n_asked;
	struct sherd_timer patience;
};

static int parse(struct status_tool *t, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		{ 0, "plan", OPT_STR, &t->plan_path, 0, 0, "FILE", "ask all nodes of this plan" },
		TOOL_NET_OPTS(t->net_opts),
		{ 0, "json", OPT_FLAG, &t->json, 0, 0, NULL,
		  "JSON, with all there is, instead of a table" },
		{ 0 }
	};
	int rc = opt_parse(&tool_status, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (!argc && !t->plan_path)
		return tool_usage(&tool_status, "which nodes? Give host:port, or --plan FILE");
	if (argc > SHERD_CLUSTER_NODES)
		return tool_usage(&tool_status, "%d addresses, and %d are the most", argc,
				  SHERD_CLUSTER_NODES);
	for (int i = 0; i < argc; i++)
		t->asked[t->n_asked++] = (struct asked){ .tool = t, .address = argv[i] };
	return TOOL_OK;
}

static int add_plan(struct status_tool *t)
{
	struct sherd_error err;

	if (!t->plan_path)
		return TOOL_OK;
	if (sherd_plan_read(&t->plan, t->plan_path, &err))
		return tool_fail(&tool_status, &err);
	for (int i = 0; i < t->plan->n_nodes && t->n_asked < SHERD_CLUSTER_NODES; i++)
		t->asked[t->n_asked++] = (struct asked){ .tool = t, .name = t->plan->nodes[i].name,
							 .address = t->plan->nodes[i].address };
	return TOOL_OK;
}

/* --------------------------------------------------------------- asking */

static void finish(struct asked *a)
{
	const struct status_tool *t = a->tool;

	a->done = true;
	for (int i = 0; i < t->n_asked; i++)
		if (!t->asked[i].done)
			return;
	sherd_loop_stop(t->net.loop);
}

static void up(void *ctx, struct sherd_link *l)
{
	const struct sherd_hello h = { .role = SHERD_ROLE_STATUS };

	(void)ctx;
	sherd_hello_send(l, &h);
}

static int expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  struct sherd_error *err)
{
	const struct asked *a = ctx;

	(void)l;
	if (f->payload <= SHERD_MESSAGE_MAX &&
	    (f->type == SHERD_FRAME_REFUSE ||
	     f->type == (a->greeted ? SHERD_FRAME_REPLY : SHERD_FRAME_WELCOME)))
		return 0;
	return sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected",
			  sherd_frame_name(f->type), f->payload);
}

static void refused(struct sherd_link *l, const struct sherd_frame *f, const uint8_t *payload)
{
	char why[SHERD_SENTENCE_MAX] = "it refuses: ";
	size_t n = strlen(why);

	sherd_sentence_read(why + n, sizeof(why) - n, payload, f->payload);
	sherd_link_hang_up(l, why);
}

/* Whatever a node says ends on a terminal. */
static void make_harmless(json_t *j)
{
	size_t i;
	const char *key;
	json_t *value;
	char *text;

	json_object_foreach(j, key, value)
		make_harmless(value);
	json_array_foreach(j, i, value)
		make_harmless(value);
	if (!json_is_string(j))
		return;
	text = tool_harmless(json_string_value(j));
	json_string_set(j, text ? text : "");
	free(text);
}

static void frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  const uint8_t *payload)
{
	const struct sherd_command ask = { .kind = SHERD_COMMAND_STATUS };
	struct asked *a = ctx;
	json_error_t e;

	if (f->type == SHERD_FRAME_WELCOME) {
		a->greeted = true;
		sherd_command_send(l, &ask);
		return;
	}
	if (f->type == SHERD_FRAME_REFUSE) {
		refused(l, f, payload);
		return;
	}
	a->answer = json_loadb((const char *)payload, f->payload, JSON_REJECT_DUPLICATES, &e);
	make_harmless(a->answer);
	sherd_link_hang_up(l, "its answer is no JSON");
}

static void down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct asked *a = ctx;

	(void)l;
	a->link = NULL;
	a->err = *why;
	finish(a);
}

static void out_of_patience(void *ctx)
{
	struct status_tool *t = ctx;

	for (int i = 0; i < t->n_asked; i++)
		if (t->asked[i].link)
			sherd_link_hang_up(t->asked[i].link, "it does not answer");
}

static int ask_all(struct status_tool *t)
{
	static const struct sherd_link_user user = { up, expect, frame, down };
	struct sherd_net *net = &t->net.loop->net;
	struct sherd_error err;

	for (int i = 0; i < t->n_asked; i++) {
		struct asked *a = &t->asked[i];

		if (!net->ops->dial(net, a->address, a->name, &user, a, &a->link, &a->err))
			continue;
		a->link = NULL;
		finish(a);
	}
	t->patience = (struct sherd_timer){ .fire = out_of_patience, .ctx = t };
	sherd_timer_after(net, &t->patience, PATIENCE_US);
	return sherd_loop_run(t->net.loop, &err) ? tool_fail(&tool_status, &err) : TOOL_OK;
}

/* --------------------------------------------------------------- saying */

static long long number(json_t *j, const char *key)
{
	return (long long)json_integer_value(json_object_get(j, key));
}

static const char *text(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static void print_stage(json_t *stage)
{
	json_t *next = json_object_get(stage, "down");
	const char *state = text(stage, "state");
	char layers[32], hop[24] = "-";

	snprintf(layers, sizeof(layers), "%lld-%lld", number(stage, "first"),
		 number(stage, "end") - 1);
	if (number(next, "rtt_us"))
		snprintf(hop, sizeof(hop), "%.2f", (double)number(next, "rtt_us") * 1e-3);
	if (!number(stage, "epoch") && strcmp(state, "hangs"))
		state = "reserve";
	printf("  %5lld  %-9s %-8s %5lld %8zu %8lld %10lld %9.2f %8.1f %8s  %s\n",
	       number(stage, "stage"), layers,
	       state, number(stage, "epoch"),
	       json_array_size(json_object_get(stage, "sessions")), number(stage, "queued"),
	       number(stage, "rows"), (double)number(stage, "step_us") * 1e-3,
	       (double)number(next, "bytes_out") * 1e-6, hop,
	       json_is_object(next) ? text(next, "address") : "-");
}

static void print_node(const struct asked *a)
{
	json_t *runs = json_object_get(a->answer, "runs"), *run, *stage;
	size_t i, k;

	printf("%s (%s), sherd %s, %zu %s\n", text(a->answer, "name"), a->address,
	       text(a->answer, "version"), json_array_size(runs),
	       json_array_size(runs) == 1 ? "run" : "runs");
	json_array_foreach(json_object_get(a->answer, "overdue"), i, stage)
		printf(" layers %lld-%lld: a step has been running for %.1f s, and was due after %.1f\n",
		       number(stage, "first"), number(stage, "end") - 1,
		       (double)number(stage, "busy_us") * 1e-6,
		       (double)number(stage, "due_us") * 1e-6);
	json_array_foreach(runs, i, run) {
		if (json_is_true(json_object_get(run, "headless")))
			printf(" a run whose head is gone\n");
		else
			printf(" a run of %s\n", text(run, "head"));
		printf("  stage  layers    state    epoch sessions   queued       rows   step ms   MB out   hop ms"
		       "  next\n");
		json_array_foreach(json_object_get(run, "stages"), k, stage)
			print_stage(stage);
	}
}

static json_t *as_json(const struct status_tool *t)
{
	json_t *list = json_array();

	for (int i = 0; i < t->n_asked; i++) {
		const struct asked *a = &t->asked[i];
		json_t *j = json_pack("{s:s, s:s*}", "address", a->address, "name", a->name);

		if (a->answer)
			json_object_set(j, "status", a->answer);
		else
			json_object_set_new(j, "error", json_string(a->err.msg));
		json_array_append_new(list, j);
	}
	return list;
}

/* Most that goes wrong with a link is said with its address. */
static int say_why(const struct asked *a)
{
	if (!a->name && strstr(a->err.msg, a->address))
		return tool_fail(&tool_status, &a->err);
	return tool_failf(&tool_status, "%s: %s", a->name ? a->name : a->address, a->err.msg);
}

static int say(const struct status_tool *t)
{
	int rc = TOOL_OK;

	if (t->json) {
		json_t *all = as_json(t);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
	}
	for (int i = 0; i < t->n_asked; i++) {
		const struct asked *a = &t->asked[i];

		if (!a->answer)
			rc = say_why(a);
		else if (!t->json)
			print_node(a);
	}
	return tool_flush(&tool_status) ? rc : TOOL_FAILED;
}

static int status_main(int argc, char **argv)
{
	const char *addresses[SHERD_CLUSTER_NODES];
	struct status_tool t = { 0 };
	bool done;
	int rc = parse(&t, argc, argv, &done);

	if (rc || done)
		return rc;
	rc = add_plan(&t);
	for (int i = 0; i < t.n_asked; i++)
		addresses[i] = t.asked[i].address;
	if (!rc)
		rc = netopt_open(&t.net, &tool_status, &t.net_opts, "head", addresses, t.n_asked);
	if (!rc)
		rc = ask_all(&t);
	if (!rc)
		rc = say(&t);
	netopt_close(&t.net);
	for (int i = 0; i < t.n_asked; i++)
		json_decref(t.asked[i].answer);
	free(t.plan);
	return rc;
}

const struct tool tool_status = {
	.name = "status",
	.synopsis = "--plan PLAN | ADDRESS... [options]",
	.summary = "how the nodes of a cluster are doing",
	.about =
		"Asks nodes what they serve: runs, stages, sessions, rows that wait, the time of a step, "
		"and the link to the next stage. The exit code is 1 if one of them does not answer.\n\n"
		"  sherd status --plan plan.json\n"
		"  sherd status 10.0.0.2:7433 --json",
	.main = status_main,
};
