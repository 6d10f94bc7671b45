/* SPDX-License-Identifier: MIT */
/*
 * cluster: the boards that there are, as a person writes them down, with what each measured:
 *
 *	{ "nodes": [
 *	    { "name": "kitchen", "address": "10.0.0.2:7433", "memory": "2GiB",
 *	      "profile": "kitchen.json" },
 *	    { "name": "hall", "address": "[fe80::2]:7433", "profile": { ... } } ],
 *	  "links": [ { "from": "kitchen", "to": "hall", "mbit": 940, "rtt_us": 180 } ],
 *	  "default_link": { "mbit": 1000, "rtt_us": 200 } }
 *
 * A link holds both ways, unless the other way is given too. "head" is where the pipeline is run
 * from. A node may be "slower": 4 times as slow as its profile, say, since that is another board's.
 */
#ifndef SHERD_CLUSTER_H
#define SHERD_CLUSTER_H

#include "plan/profile.h"

#define SHERD_CLUSTER_NODES 64

struct sherd_cluster_node {
	char name[SHERD_NAME_MAX], address[SHERD_ADDRESS_MAX];
	uint64_t memory; /* what it may use; 0: what its profile says is available */
	double slower; /* its profile's times are multiplied by this */
	struct sherd_profile *profile; /* NULL: none yet */
};

struct sherd_cluster_link {
	double mbit, rtt_us;
	bool assumed; /* neither it nor a default was given */
	bool measured; /* by its nodes, just now */
};

struct sherd_cluster {
	struct sherd_cluster_node *nodes; /* [n_nodes] */
	int n_nodes;
	struct sherd_cluster_link
		*links; /* [n_nodes + 1][n_nodes + 1]: from, to; the last is the head */
};

/* Free with sherd_cluster_free(). Profiles' paths are relative to the file's folder. */
int sherd_cluster_read(struct sherd_cluster **c, const char *path, struct sherd_error *err);
/* From memory; @dir: where profiles' files are, NULL: such are refused. */
int sherd_cluster_parse(struct sherd_cluster **c, const char *text, size_t size, const char *name,
			const char *dir, struct sherd_error *err);
void sherd_cluster_free(struct sherd_cluster *c);

/* @c->n_nodes stands for the head. */
static inline const struct sherd_cluster_link *sherd_cluster_link(const struct sherd_cluster *c,
								  int from, int to)
{
	return &c->links[from * (c->n_nodes + 1) + to];
}

/* Of the node's memory, what the planner may use; 0: unknown. */
uint64_t sherd_cluster_memory(const struct sherd_cluster_node *n);

/* "HOST:PORT" or "[V6]:PORT", with a fault where it is neither. */
void sherd_json_address(const struct sherd_json_at *at, char address[SHERD_ADDRESS_MAX]);

#endif
