/* SPDX-License-Identifier: MIT */
/*
 * plan: which layers, at which bit width, on which node - plan.json, as `sherd plan` writes it and
 * nodes and the head read it. What was read is sound: the stages have all layers, each once and in
 * order, on nodes that are named, a node once.
 *
 *	{ "sherd_plan": 1,
 *	  "model": { "name", "path", "hash", "arch", "n_layers", "hidden",
 *	             "bits": "file" | "4" | "8" },
 *	  "wire": "int8", "kv": "f16", "n_ctx": 4096, "n_sessions": 1, "chunk": 16,
 *	  "nodes": { "kitchen": { "address": "10.0.0.2:7433", "memory_bytes": 1234 }, ... },
 *	  "stages": [ { "node": "kitchen", "first": 0, "end": 12 }, ... ],
 *	  "spares": [ { "node": "hall", "spans": [ [ 0, 12 ] ] } ],
 *	  "predicted": { "objective": "latency", "prompt_tokens": 128, "first_token_ms": 81.2,
 *	                 "tokens_per_s": 17.1, "per_stage": [ { "chunk_ms": 5.1, "token_ms": 3.3,
 *	                 "link_ms": 0.3, "busy": 0.87 }, ... ] } }
 *
 * Spares, memory_bytes and predicted may be missing.
 */
#ifndef SHERD_PLAN_H
#define SHERD_PLAN_H

#include "plan/cost.h"

struct sherd_plan_node {
	char name[SHERD_NAME_MAX], address[SHERD_ADDRESS_MAX];
	uint64_t memory; /* bytes that its stage (a spare: all that it has) takes; 0: unknown */
};

struct sherd_plan_spare {
	int node;
	uint64_t stages; /* a bit for each that it can take the place of */
};

struct sherd_plan_predicted {
	bool known;
	enum sherd_objective objective;
	int n_prompt;
	double first_token_ms, tokens_per_s;
	struct {
		double chunk_ms, token_ms, link_ms, busy;
	} stage[SHERD_CLUSTER_NODES];
};

struct sherd_plan {
	char model_name[128], model_path[1024], model_hash[SHERD_SHA256_HEX], arch[32];
	int n_layers, hidden, bits; /* 0: weights as the file has them */
	enum sherd_wire wire;
	enum sherd_kv_type kv;
	int n_ctx, n_sessions, chunk;
	struct sherd_plan_node nodes[SHERD_CLUSTER_NODES];
	int n_nodes;
	struct sherd_stage_span stages[SHERD_CLUSTER_NODES]; /* node: index in nodes */
	int n_stages;
	struct sherd_plan_spare spares[SHERD_CLUSTER_NODES];
	int n_spares;
	struct sherd_plan_predicted predicted;
};

/* Free with free(). */
int sherd_plan_read(struct sherd_plan **p, const char *path, struct sherd_error *err);
int sherd_plan_parse(struct sherd_plan **p, const char *text, size_t size, const char *name,
		     struct sherd_error *err);
int sherd_plan_write(const struct sherd_plan *p, const char *path, struct sherd_error *err);
json_t *sherd_plan_to_json(const struct sherd_plan *p);

/* The layers before which the pipeline cuts, n_stages - 1 of them: a session's cuts. */
int sherd_plan_cuts(const struct sherd_plan *p, int cuts[SHERD_CLUSTER_NODES]);

/* "int8", "f16", "f32": of wires and of KV caches, by the number of their enum. */
extern const char *const sherd_wire_names[3], *const sherd_kv_names[3];
extern const char *const sherd_objective_names[2];

#endif
