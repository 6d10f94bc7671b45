/* SPDX-License-Identifier: MIT */
/*
 * probe: what a node is asked to measure, for it has not got the model: some runs of layers, which
 * show every kind of layer, the embedding and the output matrix, each a shard of its own that is
 * pushed first. `sherd plan` asks (survey.c), a node passes it on to a process of its own
 * (profiler.c), which measures (profile.c).
 */
#ifndef SHERD_TOOL_PROBE_H
#define SHERD_TOOL_PROBE_H

#include "net/stage.h"
#include "net/store.h"
#include "plan/sizes.h"

#define PROBE_WINDOWS (SHERD_PROFILE_KINDS + 2)

struct probe_window {
	int first, end; /* layers */
};

struct probe {
	/*
	 * Name, hash, n_layers, hidden, bits and kinds; the rest is only known where the model is.
	 */
	struct sherd_sizes *sizes;
	struct probe_window windows[PROBE_WINDOWS];
	int n_windows;
	enum sherd_kv_type kv;
	int n_ctx; /* of the measurement */
	uint64_t others; /* bytes of the layers that the windows leave out */
	double seconds; /* in all, about */
	bool again; /* though it has been measured before */
};

/*
 * Of the whole model, which must outlive it: what to ask. The caller fills in kv, seconds and
 * again.
 */
void probe_choose(struct probe *p, struct sherd_sizes *sizes);
/* As a message's part; @key: only what the answer depends on. NULL: no memory. */
json_t *probe_to_json(const struct probe *p, bool key);
/* Checks it in full; p->sizes is to be freed. */
int probe_parse(struct probe *p, const char *text, struct sherd_error *err);

/* What a window is to a store, and what its file is called. */
struct sherd_stage_spec probe_spec(const struct probe *p, int window);
void probe_name(const struct probe *p, int window, char name[SHERD_FILE_NAME]);

#endif
