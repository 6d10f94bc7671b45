/* SPDX-License-Identifier: MIT */
/*
 * node: a board's part of a pipeline. It keeps shards in a folder, and serves the stages that a
 * head assigns to it.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "dilate.h"
#include "metrics.h"
#include "net/node.h"
#include "netopt.h"
#include "notify.h"
#include "plan/profile.h"
#include "profiler.h"
#include "stage.h"
#include "stage_trace.h"
#include "store.h"

/*
 * A chunk of 4096 values a row fits with 64 rows in int8, or 32 in f16. Four chunks are a hop's
 * window, and one is being computed. All of it is less than what RLIMIT_MEMLOCK mostly allows.
 */
#define RING_SLOTS 5
#define SLOT_BYTES ((size_t)288 << 10)

#define DEFAULT_LISTEN "0.0.0.0:7433"
#define STEP_LIMIT_S   60

struct node {
	/* the command line */
	struct net_opts net_opts;
	const char *listen, *shards, *name, *metrics_at;
	struct sherd_model_params params;
	float dilate;
	const char *turns_at;
	int turns, hang_after, step_limit;
	const char *trace_at;
	struct trace_file *trace;
	bool verbose;

	char host[64];
	struct netopt net;
	struct sherd_node *node;
	struct store *store;
	struct profiler *profiler;
	struct metrics *metrics;
	bool hung; /* it ends because of a step that does not */
	struct sherd_timer watchdog;
	uint64_t watchdog_us;
};

static struct sherd_loop *to_stop; /* what a signal's handler knows */

static void on_signal(int sig)
{
	(void)sig;
	sherd_loop_stop(to_stop);
}

static int parse(struct node *n, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		{ 'l', "listen", OPT_STR, &n->listen, 0, 0, "ADDR",
		  "where heads and neighbours reach this node, host:port (default: " DEFAULT_LISTEN
		  ")" },
		{ 0, "shards", OPT_STR, &n->shards, 0, 0, "DIR",
		  "the folder of its shards, which `sherd push` fills (made if it is not there)" },
		{ 0, "name", OPT_STR, &n->name, 0, 0, "NAME",
		  "its name in cluster files and in its certificate (default: the machine's)" },
		TOOL_NET_OPTS(n->net_opts),
		{ 0, "metrics", OPT_STR, &n->metrics_at, 0, 0, "ADDR",
		  "numbers for Prometheus over HTTP at host:port; there is no TLS (default: none)" },
		{ 't', "threads", OPT_INT, &n->params.n_threads, 1, 1024, "N",
		  "threads of a CPU device (default: the CPUs that the process may use)" },
		{ 0, "device", OPT_STR, &n->params.device, 0, 0, "NAME",
		  "auto, cpu, gpu, reference (plain C), a number or part of a device's name" },
		{ 0, "tune", OPT_STR, &n->params.tune, 0, 0, "FILE",
		  "what sherd tune has measured of the device, or none (default: what sherd finds for "
		  "it)" },
		{ 0, "region", OPT_STR, &n->params.region, 0, 0, "NAME",
		  "what holds the weights in memory: auto, sherd, udmabuf, locked or plain" },
		{ 0, "step-limit", OPT_INT, &n->step_limit, 0, 86400, "S",
		  "fail when a step takes S seconds, and ten times what is due: its device hangs "
		  "(default: 60; 0: wait)" },
		{ 0, "dilate", OPT_FLOAT, &n->dilate, 1, 1000, "K",
		  "for benchmarks: compute K times as slowly, by sleeping" },
		{ 0, "dilate-turns", OPT_STR, &n->turns_at, 0, 0, "FILE",
		  "with --dilate: nodes of one machine that share FILE compute one at a time" },
		{ 0, "trace", OPT_STR, &n->trace_at, 0, 0, "FILE",
		  "each step into FILE, for ui.perfetto.dev; what is there can be read at any time" },
		{ 0, "hang-after", OPT_INT, &n->hang_after, 1, 1 << 30, "N",
		  "for benchmarks: compute N steps, and then never come back, as a device does that hangs" },
		{ 'v', "verbose", OPT_FLAG, &n->verbose, 0, 0, NULL, "say more" },
		{ 0 }
	};
	int rc = opt_parse(&tool_node, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc)
		return tool_usage(&tool_node, "'%s' is one argument too many", argv[0]);
	if (n->turns_at && n->dilate <= 1)
		return tool_usage(&tool_node, "--dilate-turns is for boards that --dilate imitates");
	if (!n->shards)
		return tool_usage(&tool_node, "--shards DIR says where its shards are to be");
	if (!n->name) {
		if (gethostname(n->host, sizeof(n->host) - 1))
			return tool_failf(&tool_node,
					  "the machine has no name; give one with --name");
		n->host[strcspn(n->host, ".")] = '\0';
		n->name = n->host;
		n->net_opts.host_is_name = true;
	}
	if (!sherd_node_name_ok(n->name))
		return tool_usage(
			&tool_node,
			"'%s' can't be a node's name: letters, digits, '.', '_' and '-', beginning with a "
			"letter or digit, and not 'head'; --name gives another",
			n->name);
	return TOOL_OK;
}

/* A log has lines, and no progress bars. */
static void note(void *ctx, const char *sentence)
{
	(void)ctx;
	tool_line(sentence);
}

/* --------------------------------------------------------------- stages */

static int get_stage(void *ctx, const struct sherd_stage_spec *spec, struct sherd_stage **stage,
		     struct sherd_error *err)
{
	struct node *n = ctx;
	char *path = store_find(n->shards, spec, err);
	struct stage_params p = { .model = path,
				  .spec = *spec,
				  .base = n->params,
				  .ring = n->net.ring,
				  .dilate = n->dilate,
				  .turns = n->turns,
				  .hang_after = n->hang_after,
				  .trace = n->trace,
				  .post = netopt_post,
				  .visit = netopt_visit,
				  .loop = n->net.loop };
	int rc;

	if (!path)
		return -ENOENT;
	rc = stage_new(stage, &p, err);
	if (!rc)
		fprintf(stderr, "sherd: loading layers %d to %d from %s\n", spec->first,
			spec->end - 1, path);
	free(path);
	return rc;
}

/* A process that is started anew has its device anew, mostly; waited for, it is of no use. */
static void hung(void *ctx, const char *sentence)
{
	struct node *n = ctx;

	if (!n->hung)
		tool_failf(&tool_node, "%s", sentence);
	n->hung = true;
	sherd_loop_stop(n->net.loop);
}

/* --------------------------------------------------------------- service */

static struct json_t *status(void *ctx)
{
	return sherd_node_status(((struct node *)ctx)->node);
}

static void alive(void *ctx)
{
	struct node *n = ctx;

	notify("WATCHDOG=1");
	sherd_timer_after(&n->net.loop->net, &n->watchdog, n->watchdog_us / 3);
}

/*
 * The kernel takes down a killed process's io_uring, and the sockets that it holds, some time after
 * the process: who takes its place at once finds the address still in use.
 */
static int listen_soon(struct node *n, char bound[64], struct sherd_error *err)
{
	int rc = -EADDRINUSE;

	for (int i = 0; rc == -EADDRINUSE && i < 100; i++) {
		if (i)
			usleep(100000);
		if (i == 10)
			fprintf(stderr, "sherd: %s is in use, maybe by what was killed; waiting\n",
				n->listen);
		rc = sherd_loop_listen(n->net.loop, n->listen, bound, err);
	}
	return rc;
}

static int start(struct node *n)
{
	const char *listen = n->listen;
	struct sherd_node_params p = {
		.name = n->name, .source = { get_stage, n }, .note = note, .ctx = n,
		.hung_us = (uint64_t)n->step_limit * 1000000,
		.hung = n->step_limit ? hung : NULL,
	};
	struct profiler_params measures = { .name = n->name,
					    .shards = n->shards,
					    .base = &n->params,
					    .dilate = n->dilate,
					    .post = netopt_post };
	struct sherd_error err;
	char bound[64];
	int rc;

	if (dilate_open(&n->turns, n->turns_at, &err))
		return tool_fail(&tool_node, &err);
	if (n->trace_at && trace_file_open(&n->trace, n->trace_at, "node", TRACE_LIVE, &err))
		return tool_fail(&tool_node, &err);
	rc = netopt_open(&n->net, &tool_node, &n->net_opts, n->name, &listen, 1);
	if (rc)
		return rc;
	n->params.note = note;
	measures.loop = n->net.loop;
	p.net = &n->net.loop->net;
	if (store_open(&n->store, n->shards, netopt_post, n->net.loop, &err))
		return tool_fail(&tool_node, &err);
	p.store = store_of(n->store);
	if (profiler_new(&n->profiler, &measures, &err))
		return tool_fail(&tool_node, &err);
	p.profiler = profiler_of(n->profiler);
	p.slots = n->net.slots;
	if (sherd_node_new(&n->node, &p, &err) || listen_soon(n, bound, &err))
		return tool_fail(&tool_node, &err);
	if (n->metrics_at &&
	    metrics_open(&n->metrics, n->metrics_at, status, n, netopt_post, n->net.loop, &err))
		return tool_fail(&tool_node, &err);
	fprintf(stderr, "sherd: %s listens at %s, %s, over %s\n", n->name, bound,
		n->net.tls ? "with TLS" : "without TLS", sherd_io_name(n->net.loop->io));
	if (n->verbose && n->net.ring)
		fprintf(stderr, "sherd: rows are sent from a ring: %s%s%s\n", n->net.ring->how,
			n->net.loop->note.msg[0] ? "; " : "", n->net.loop->note.msg);
	for (int i = 0; n->verbose && i < (int)n->net.loop->io; i++)
		fprintf(stderr, "sherd: not taken: %s: %s\n", sherd_io_name(i),
			n->net.loop->refused[i].msg);
	return TOOL_OK;
}

static int serve(struct node *n)
{
	const struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };
	struct sherd_error err;
	int rc;

	to_stop = n->net.loop;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	n->watchdog_us = notify_watchdog_us();
	n->watchdog = (struct sherd_timer){ .fire = alive, .ctx = n };
	if (n->watchdog_us)
		sherd_timer_after(&n->net.loop->net, &n->watchdog, 0);
	notify("READY=1");
	rc = sherd_loop_run(n->net.loop, &err);
	notify("STOPPING=1");
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	rc = n->hung ? TOOL_FAILED : rc ? tool_fail(&tool_node, &err) : TOOL_OK;
	if (!sherd_node_overdue(n->node))
		return rc;
	/* A thread that may never come back can't be waited for, nor may what it writes to go. */
	if (n->trace)
		trace_file_flush(n->trace);
	_exit(rc);
}

static int node_main(int argc, char **argv)
{
	struct node n = { .listen = DEFAULT_LISTEN, .turns = -1, .step_limit = STEP_LIMIT_S,
			  .params = SHERD_MODEL_PARAMS_INIT,
			  .net_opts = { .n_slots = RING_SLOTS, .slot_bytes = SLOT_BYTES } };
	struct sherd_error err;
	bool done;
	int rc = parse(&n, argc, argv, &done);

	if (rc || done)
		return rc;
	rc = start(&n);
	if (!rc)
		rc = serve(&n);
	/*
	 * The loop's threads first; then who is called by it; the loop itself, which links need,
	 * last.
	 */
	metrics_close(n.metrics);
	store_close(n.store);
	profiler_close(n.profiler);
	sherd_node_free(n.node);
	netopt_close(&n.net);
	if (trace_file_close(n.trace, &err) && !rc)
		rc = tool_fail(&tool_node, &err);
	if (n.turns >= 0)
		close(n.turns);
	return rc;
}

const struct tool tool_node = {
	.name = "node",
	.synopsis = "--shards DIR [--listen ADDR] [options]",
	.summary = "serve layers of models to a pipeline of boards",
	.about =
		"Runs on each board of a cluster: keeps shards in a folder, and computes the layers that "
		"the head of a pipeline (`sherd run --plan`) assigns to it. Only who has the head's "
		"certificate may command it.\n\n"
		"  sherd cluster init -o certs kitchen hall           once, anywhere: certificates\n"
		"  sherd node --shards /var/lib/sherd --tls certs     on each board\n"
		"  sherd plan -m model.gguf --cluster cluster.json -o plan.json\n"
		"  sherd push plan.json\n"
		"  sherd run --plan plan.json -p \"Once upon a time\"\n\n"
		"A systemd unit is installed with sherd: systemctl enable --now sherd-node.",
	.main = node_main,
};
