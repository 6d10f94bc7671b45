/* SPDX-License-Identifier: MIT */
/*
 * cluster: reads cluster.json. It is written by hand, so each fault is said with its place and what
 * would be right; nothing is guessed but links that nobody gave, and those are marked.
 */
#include "plan/cluster.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_BYTES    ((uint64_t)1 << 50)
#define MAX_MBIT     1e7
#define MAX_RTT_US   1e8
/* A link that nobody described: Gigabit Ethernet behind one switch. */
#define ASSUMED_MBIT 1000
#define ASSUMED_RTT  200

/* ------------------------------------------------------------------- nodes */

static bool port_ok(const char *s)
{
	char *end;
	long port = isdigit((unsigned char)*s) ? strtol(s, &end, 10) : 0;

	return port > 0 && port < 65536 && !*end;
}

static bool address_ok(const char *s)
{
	const char *host = s, *colon = strrchr(s, ':');
	size_t n;

	if (!colon || !port_ok(colon + 1))
		return false;
	n = (size_t)(colon - host);
	if (host[0] == '[')
		return n > 3 && host[n - 1] == ']' && strcspn(host + 1, "[]/ ") == n - 2;
	return n && strcspn(host, ":[]/ ") == n;
}

void sherd_json_address(const struct sherd_json_at *at, char address[SHERD_ADDRESS_MAX])
{
	sherd_json_str(at, address, SHERD_ADDRESS_MAX);
	if (!at->file->rc && !address_ok(address))
		sherd_json_fail(at, "\"%s\" is not an address such as \"10.0.0.2:7433\" or "
				    "\"[fe80::2]:7433\"", address);
}

/* "2GiB", "512MiB", "1.5GiB"; false: none of these. */
static bool parse_bytes(const char *s, double *bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double scale = 1024;
	char *end;

	if (!isdigit((unsigned char)*s) || s[strspn(s, "0123456789.")] == '\0')
		return false;
	*bytes = strtod(s, &end);
	end += *end == ' ';
	for (size_t i = 0; i < ARRAY_SIZE(units); i++, scale *= 1024) {
		if (strcmp(end, units[i]))
			continue;
		*bytes *= scale;
		return true;
	}
	return false;
}

static uint64_t read_bytes(const struct sherd_json_at *at)
{
	char text[32];
	double bytes = 0;

	if (!json_is_string(at->j)) {
		int64_t n = sherd_json_int(at, INT64_MIN, INT64_MAX);

		if (n < 1 || n > (int64_t)MAX_BYTES)
			sherd_json_fail(at, "a memory of %lld bytes is none that a node has",
					(long long)n);
		return at->file->rc ? 0 : (uint64_t)n;
	}
	sherd_json_str(at, text, sizeof(text));
	if (at->file->rc)
		return 0;
	if (!parse_bytes(text, &bytes))
		sherd_json_fail(at, "\"%s\" is not a size such as \"2GiB\" or \"512MiB\"", text);
	else if (bytes < 1 || bytes > (double)MAX_BYTES)
		sherd_json_fail(at, "a memory of \"%s\" is none that a node has", text);
	return at->file->rc ? 0 : (uint64_t)bytes;
}

/* The name of a file beside the cluster's, or the profile itself. */
static struct sherd_profile *read_node_profile(const struct sherd_json_at *at, const char *dir)
{
	struct sherd_profile *p = NULL;
	struct sherd_error why;
	char name[1024], *path;

	if (!json_is_string(at->j))
		return sherd_profile_from_json(at);
	sherd_json_str(at, name, sizeof(name));
	if (at->file->rc)
		return NULL;
	if (!dir) {
		sherd_json_fail(at, "profiles' files can't be read here");
		return NULL;
	}
	path = name[0] == '/' ? strdup(name) : sherd_asprintf("%s/%s", dir, name);
	if (!path)
		sherd_json_fail(at, "no memory for a path");
	else if (sherd_profile_read(&p, path, &why))
		sherd_json_fail(at, "%s", why.msg);
	free(path);
	return p;
}

static void check_memory(const struct sherd_json_at *at, const struct sherd_cluster_node *n)
{
	if (n->profile && n->memory > n->profile->memory_total)
		sherd_json_fail(at, "%.2f GiB are more than the %.2f GiB that its profile says the "
				    "machine has", (double)n->memory / (1 << 30),
				(double)n->profile->memory_total / (1 << 30));
}

static void read_node(const struct sherd_json_at *at, struct sherd_cluster_node *n, const char *dir)
{
	static const char *const keys[] = { "name",    "address", "memory",
					    "profile", "slower",  NULL };
	struct sherd_json_at v;

	if (!sherd_json_keys(at, keys))
		return;
	v = sherd_json_key(at, "name");
	sherd_json_node_name(&v, n->name);
	v = sherd_json_key(at, "address");
	sherd_json_address(&v, n->address);
	v = sherd_json_key(at, "slower");
	n->slower = v.j ? sherd_json_num(&v, 1e-3, 1e6) : 1;
	v = sherd_json_key(at, "profile");
	if (v.j && !at->file->rc)
		n->profile = read_node_profile(&v, dir);
	v = sherd_json_key(at, "memory");
	if (v.j)
		n->memory = read_bytes(&v);
	check_memory(&v, n);
}

static void check_twins(const struct sherd_json_at *at, const struct sherd_cluster *c, int i)
{
	for (int k = 0; k < i; k++) {
		if (!strcmp(c->nodes[k].name, c->nodes[i].name))
			sherd_json_fail(at, "there is a node \"%s\" already: nodes[%d]",
					c->nodes[i].name, k);
		if (!strcmp(c->nodes[k].address, c->nodes[i].address))
			sherd_json_fail(at, "\"%s\" has the address %s of node \"%s\"",
					c->nodes[i].name, c->nodes[i].address, c->nodes[k].name);
	}
}

static void read_nodes(const struct sherd_json_at *at, struct sherd_cluster *c, const char *dir)
{
	size_t n = sherd_json_array(at, 1, SHERD_CLUSTER_NODES);

	c->nodes = sherd_calloc(n, sizeof(*c->nodes));
	c->links = sherd_calloc((n + 1) * (n + 1), sizeof(*c->links));
	if (!c->nodes || !c->links) {
		sherd_json_fail(at, "no memory for %zu nodes", n);
		return;
	}
	for (size_t i = 0; i < n && !at->file->rc; i++) {
		struct sherd_json_at node = sherd_json_elem(at, i);

		c->n_nodes++;
		read_node(&node, &c->nodes[i], dir);
		check_twins(&node, c, (int)i);
	}
}

/* ------------------------------------------------------------------- links */

static void read_speed(const struct sherd_json_at *at, struct sherd_cluster_link *l)
{
	struct sherd_json_at v = sherd_json_key(at, "mbit");

	l->mbit = sherd_json_num(&v, 1e-3, MAX_MBIT);
	v = sherd_json_key(at, "rtt_us");
	l->rtt_us = sherd_json_num(&v, 0, MAX_RTT_US);
}

static int read_end(const struct sherd_json_at *link, const char *key,
		    const struct sherd_cluster *c)
{
	struct sherd_json_at at = sherd_json_key(link, key);
	char name[SHERD_NAME_MAX];
	int i;

	sherd_json_str(&at, name, sizeof(name));
	if (!strcmp(name, "head"))
		return c->n_nodes;
	for (i = 0; i < c->n_nodes; i++)
		if (!strcmp(name, c->nodes[i].name))
			return i;
	sherd_json_fail(&at, "there is no node \"%s\"", name);
	return 0;
}

static void read_link(const struct sherd_json_at *at, struct sherd_cluster *c, bool *given)
{
	static const char *const keys[] = { "from", "to", "mbit", "rtt_us", NULL };
	int from, to, n = c->n_nodes + 1;

	if (!sherd_json_keys(at, keys))
		return;
	from = read_end(at, "from", c);
	to = read_end(at, "to", c);
	if (!at->file->rc && from == to)
		sherd_json_fail(at, "a link from a node to itself");
	if (!at->file->rc && given[from * n + to])
		sherd_json_fail(at, "this link was given before");
	read_speed(at, &c->links[from * n + to]);
	given[from * n + to] = true;
}

/* What was not given: the other way's, else the default. */
static void fill_links(struct sherd_cluster *c, const bool *given,
		       const struct sherd_cluster_link *def)
{
	int n = c->n_nodes + 1;

	for (int from = 0; from < n; from++)
		for (int to = 0; to < n; to++)
			if (!given[from * n + to])
				c->links[from * n + to] =
					given[to * n + from] ? c->links[to * n + from] : *def;
}

static void read_links(const struct sherd_json_at *root, struct sherd_cluster *c)
{
	static const char *const keys[] = { "mbit", "rtt_us", NULL };
	bool given[(SHERD_CLUSTER_NODES + 1) * (SHERD_CLUSTER_NODES + 1)] = { false };
	struct sherd_cluster_link def = { ASSUMED_MBIT, ASSUMED_RTT, .assumed = true };
	struct sherd_json_at links = sherd_json_key(root, "links");
	struct sherd_json_at at = sherd_json_key(root, "default_link");
	size_t n = links.j ? sherd_json_array(&links, 0, ARRAY_SIZE(given)) : 0;

	for (size_t i = 0; i < n && !root->file->rc; i++) {
		struct sherd_json_at link = sherd_json_elem(&links, i);

		read_link(&link, c, given);
	}
	if (at.j && sherd_json_keys(&at, keys)) {
		read_speed(&at, &def);
		def.assumed = false;
	}
	if (!root->file->rc)
		fill_links(c, given, &def);
}

/* --------------------------------------------------------------------- all */

static int read_cluster(struct sherd_cluster **out, struct sherd_json *f, const char *dir)
{
	static const char *const keys[] = { "nodes", "links", "default_link", NULL };
	struct sherd_json_at root = sherd_json_root(f), nodes;
	struct sherd_cluster *c = sherd_calloc(1, sizeof(*c));
	int rc;

	if (!c)
		sherd_json_fail(&root, "no memory for a cluster");
	if (json_object_get(root.j, "sherd_plan") || json_object_get(root.j, "sherd_profile"))
		sherd_json_fail(&root, "is no cluster file");
	if (c && sherd_json_keys(&root, keys)) {
		nodes = sherd_json_key(&root, "nodes");
		read_nodes(&nodes, c, dir);
	}
	if (!f->rc)
		read_links(&root, c);
	rc = sherd_json_close(f);
	if (rc) {
		sherd_cluster_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

int sherd_cluster_parse(struct sherd_cluster **c, const char *text, size_t size, const char *name,
			const char *dir, struct sherd_error *err)
{
	struct sherd_json f;
	int rc = sherd_json_parse(&f, text, size, name, err);

	*c = NULL;
	return rc ? rc : read_cluster(c, &f, dir);
}

int sherd_cluster_read(struct sherd_cluster **c, const char *path, struct sherd_error *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct sherd_json f;
	int rc;

	*c = NULL;
	if (!dir)
		return sherd_fail_oom(err, strlen(path), "a path");
	rc = sherd_json_open(&f, path, err);
	if (!rc)
		rc = read_cluster(c, &f, dir);
	free(dir);
	return rc;
}

void sherd_cluster_free(struct sherd_cluster *c)
{
	if (!c)
		return;
	for (int i = 0; i < c->n_nodes; i++)
		sherd_profile_free(c->nodes[i].profile);
	free(c->nodes);
	free(c->links);
	free(c);
}

uint64_t sherd_cluster_memory(const struct sherd_cluster_node *n)
{
	if (n->memory)
		return n->memory;
	return n->profile ? n->profile->memory_available : 0;
}
