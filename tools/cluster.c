/* SPDX-License-Identifier: MIT */
/*
 * cluster: the certificates by which the nodes of a cluster know each other. The files are
 * net/ca.h's; what goes to which board is said here, since that is the step that people get wrong.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "net/ca.h"
#include "tool.h"

#define HEAD "head"
#define DAY  86400

static const char about[] =
	"Makes the certificates by which the boards of a cluster know each other: links between "
	"them are mutual TLS 1.3, so each side has to show one of the cluster's own authority.\n"
	"\n"
	"  sherd cluster init -o certs kitchen attic   an authority; certificates for both, and "
	"one for the head\n"
	"  sherd cluster add -o certs cellar           one more board\n"
	"  sherd cluster show certs                    who there is, and until when\n"
	"\n"
	"A board gets three files: ca.pem, its NAME.pem and its NAME-key.pem. The machine where "
	"you run models gets ca.pem, head.pem and head-key.pem. ca-key.pem stays where it was "
	"made: who has it can let anybody in. NAME is the node's name in the cluster's file and in "
	"plans.\n"
	"\n"
	"Nothing is overwritten. To renew a certificate, move NAME.pem and NAME-key.pem away and "
	"add NAME again.";

struct cluster {
	const char *dir;
	int days;
	bool json;
};

static bool has_name(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int init(const struct cluster *c, const char *const *names, int n)
{
	const char **all = calloc((size_t)n + 1, sizeof(*all));
	struct sherd_error err;
	int rc;

	if (!all)
		return tool_failf(&tool_cluster, "out of memory");
	for (int i = 0; i < n; i++)
		all[i] = names[i];
	if (!has_name(names, n, HEAD))
		all[n++] = HEAD;
	rc = sherd_ca_init(c->dir, all, n, c->days, &err);
	free(all);
	if (rc)
		return tool_fail(&tool_cluster, &err);
	printf("%s: an authority and %d certificates\n"
	       "  to each board:  ca.pem NAME.pem NAME-key.pem\n"
	       "  to the head:    ca.pem " HEAD ".pem " HEAD "-key.pem\n"
	       "  stays here:     ca-key.pem (with it anybody can be let in; keep a copy)\n",
	       c->dir, n);
	return TOOL_OK;
}

static int add(const struct cluster *c, const char *const *names, int n)
{
	struct sherd_error err;

	if (sherd_ca_add(c->dir, names, n, c->days, &err))
		return tool_fail(&tool_cluster, &err);
	for (int i = 0; i < n; i++)
		printf("%s/%s.pem and %s/%s-key.pem: to the board, with ca.pem\n", c->dir, names[i],
		       c->dir, names[i]);
	return TOOL_OK;
}

/* ---------------------------------------------------------------------- show */

/* The last one, of which less is left, counts. */
static long days_left(const struct sherd_cert *c, time_t now)
{
	return now < c->until ? (long)DIV_ROUND_UP(c->until - now, DAY) : 0;
}

static const char *state(const struct sherd_cert *c, time_t now, char *buf, size_t size)
{
	long days = days_left(c, now);

	if (now < c->from)
		snprintf(buf, size, "not valid yet");
	else if (now >= c->until)
		snprintf(buf, size, "has expired");
	else
		snprintf(buf, size, "%ld day%s left", days, days == 1 ? "" : "s");
	return buf;
}

static void show_text(const struct sherd_ca_entry *list, int n, time_t now)
{
	char until[SHERD_CERT_TIME], buf[32];

	printf("%-20s  %-20s  %-16s  %-6s  %s\n", "name", "valid until", "", "key", "SHA-256");
	for (int i = 0; i < n; i++) {
		const struct sherd_cert *c = &list[i].cert;

		sherd_cert_time(c->until, until);
		printf("%-20s  %-20s  %-16s  %-6s  %s%s\n", c->name, until,
		       state(c, now, buf, sizeof(buf)), list[i].has_key ? "here" : "-",
		       c->fingerprint, c->authority ? "  authority" : "");
	}
}

static int show_json(const struct sherd_ca_entry *list, int n, time_t now)
{
	json_t *all = json_array();
	char from[SHERD_CERT_TIME], until[SHERD_CERT_TIME];
	char *text;

	for (int i = 0; i < n; i++) {
		const struct sherd_cert *c = &list[i].cert;

		sherd_cert_time(c->from, from);
		sherd_cert_time(c->until, until);
		json_array_append_new(
			all,
			json_pack("{s:s,s:s,s:b,s:b,s:s,s:s,s:b,s:I,s:s}", "name", c->name, "file",
				  list[i].file, "authority", c->authority, "key", list[i].has_key,
				  "from", from, "until", until, "valid",
				  now >= c->from && now < c->until, "days_left",
				  (json_int_t)days_left(c, now), "sha256", c->fingerprint));
	}
	text = json_dumps(all, JSON_INDENT(2));
	json_decref(all);
	if (!text)
		return tool_failf(&tool_cluster, "out of memory");
	puts(text);
	free(text);
	return TOOL_OK;
}

static int show(const struct cluster *c)
{
	struct sherd_ca_entry *list;
	struct sherd_error err;
	int n, rc = TOOL_OK;

	if (sherd_ca_list(c->dir, &list, &n, &err))
		return tool_fail(&tool_cluster, &err);
	if (c->json)
		rc = show_json(list, n, time(NULL));
	else
		show_text(list, n, time(NULL));
	free(list);
	return rc;
}

/* ---------------------------------------------------------------------- main */

/* The folder may be given either way: -o goes with making, an argument with showing. */
static int take_dir(struct cluster *c, int *argc, char ***argv)
{
	if (c->dir)
		return TOOL_OK;
	if (*argc < 1)
		return tool_usage(&tool_cluster, "show wants a folder");
	c->dir = (*argv)[0];
	(*argc)--;
	(*argv)++;
	return TOOL_OK;
}

static int act(struct cluster *c, const char *verb, int argc, char **argv)
{
	if (!strcmp(verb, "show")) {
		if (take_dir(c, &argc, &argv))
			return TOOL_USAGE;
		if (argc > 0)
			return tool_usage(&tool_cluster, "'%s' is one argument too many", argv[0]);
		return show(c);
	}
	if (strcmp(verb, "init") && strcmp(verb, "add"))
		return tool_usage(&tool_cluster, "'%s' is none of init, add, show", verb);
	if (!c->dir)
		return tool_usage(&tool_cluster, "%s wants a folder, with -o DIR", verb);
	if (c->json)
		return tool_usage(&tool_cluster, "--json goes with show");
	if (argc < 1)
		return tool_usage(&tool_cluster, "%s wants the names of the nodes", verb);
	if (!strcmp(verb, "init"))
		return init(c, (const char *const *)argv, argc);
	return add(c, (const char *const *)argv, argc);
}

static int cluster_main(int argc, char **argv)
{
	struct cluster c = { .days = SHERD_CA_NODE_DAYS };
	const struct opt opts[] = {
		{ 'o', "output", OPT_STR, &c.dir, 0, 0, "DIR",
		  "the folder with the cluster's certificates" },
		{ 0, "days", OPT_INT, &c.days, 1, SHERD_CA_DAYS, "N",
		  "how long certificates of nodes are valid (default: 730); the authority is for "
		  "3650" },
		{ 0, "json", OPT_FLAG, &c.json, 0, 0, NULL, "show prints JSON" },
		{ 0 },
	};
	int rc = opt_parse(&tool_cluster, opts, &argc, argv);

	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc < 1)
		return tool_usage(&tool_cluster, "what is to be done: init, add or show?");
	rc = act(&c, argv[0], argc - 1, argv + 1);
	return tool_flush(&tool_cluster) ? rc : TOOL_FAILED;
}

const struct tool tool_cluster = {
	.name = "cluster",
	.synopsis = "init|add -o DIR NAME... [--days N] | show DIR [--json]",
	.summary = "make the certificates by which a cluster's boards know each other",
	.about = about,
	.main = cluster_main,
};
