/* SPDX-License-Identifier: MIT */
/*
 * main: finds the sub-command and gets out of its way. Each is a file with a `struct tool`.
 */
#include <signal.h>
#include <string.h>
#include "base/base.h"
#include "tool.h"
#include "trace_file.h"

static const struct tool *const tools[] = {
	&tool_run, &tool_chat, &tool_bench, &tool_embed, &tool_info, &tool_tokenize, &tool_pack, &tool_eval,
	&tool_doctor,
	&tool_devices, &tool_tune, &tool_cluster, &tool_plan, &tool_push, &tool_node, &tool_status,
};

static int help(FILE *out)
{
	fputs("sherd runs language models on OpenCL devices, from packed, quantized shards.\n\n"
	      "Usage: sherd COMMAND [options]\n\n"
	      "Commands:\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		fprintf(out, "  %-10s %s\n", tools[i]->name, tools[i]->summary);
	fputs("\nTry:\n"
	      "  sherd run -m model.gguf -p \"Once upon a time\"\n"
	      "  sherd run --help\n",
	      out);
	if (out != stdout)
		return TOOL_USAGE;
	return tool_flush(NULL) ? TOOL_OK : TOOL_FAILED;
}

static const struct tool *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		if (!strcmp(tools[i]->name, name))
			return tools[i];
	return strcmp(name, tool_device_test.name) ? NULL : &tool_device_test;
}

static int unknown(const char *name)
{
	const char *nearest = NULL;
	size_t best = 4;

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		size_t d = sherd_distance(name, tools[i]->name);

		if (d < best && d < strlen(tools[i]->name)) {
			best = d;
			nearest = tools[i]->name;
		}
	}
	if (nearest)
		return tool_usage(NULL, "there is no command '%s'; did you mean '%s'?", name,
				  nearest);
	return tool_usage(NULL, "there is no command '%s'", name);
}

/* What is unfinished goes with us, but for a trace; the signal ends the process as it would have. */
static void on_end(int sig)
{
	trace_file_rescue();
	sherd_leftovers_remove();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void catch_signals(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (signal(ends[i], on_end) == SIG_IGN)
			signal(ends[i], SIG_IGN); /* nohup */
	/* A reader that goes away is a failed write, not a death in the middle of a file. */
	signal(SIGPIPE, SIG_IGN);
	/* Nor is a limit on files, as on a full disk. */
	signal(SIGXFSZ, SIG_IGN);
}

int main(int argc, char **argv)
{
	char *help_argv[] = { NULL, "--help", NULL };
	const struct tool *t;

	catch_signals();
	if (argc < 2)
		return help(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    (!strcmp(argv[1], "help") && argc == 2))
		return help(stdout);
	if (!strcmp(argv[1], OPT_FOR_SHELLS)) {
		for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
			printf("%s\t\t%s\n", tools[i]->name, tools[i]->summary);
		return tool_flush(NULL) ? TOOL_OK : TOOL_FAILED;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("sherd %s\n", sherd_version());
		return tool_flush(NULL) ? TOOL_OK : TOOL_FAILED;
	}
	if (!strcmp(argv[1], "help")) {
		t = find(argv[2]);
		help_argv[0] = argv[2];
		return t ? t->main(2, help_argv) : unknown(argv[2]);
	}
	t = find(argv[1]);
	return t ? t->main(argc - 1, argv + 1) : unknown(argv[1]);
}
