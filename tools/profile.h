/* SPDX-License-Identifier: MIT */
/*
 * profile: measures this machine with a model, for the planner: `sherd plan --measure`, and a node
 * that is asked for its profile.
 */
#ifndef SHERD_TOOL_PROFILE_H
#define SHERD_TOOL_PROFILE_H

#include "plan/profile.h"
#include "plan/sizes.h"
#include "probe.h"

#define PROFILE_CTX 320 /* positions that are measured with, where the model has them */

/*
 * The sizes of a model, packed into the cache first if need be, with what an executor takes at this
 * context and this KV type (@params: bits, n_ctx, kv_type, no_cache, progress, note); *n_ctx: the
 * context, where none was asked for; *path (may be NULL): the file, malloc'd. Free with
 * sherd_sizes_free().
 */
int model_sizes(struct sherd_sizes **sizes, const char *model,
		const struct sherd_model_params *params, int *n_ctx, char **path,
		struct sherd_error *err);

/*
 * Opens the model - as many layers at a time as fit - and measures for about @seconds. The profile
 * has one width, @params->bits. Free with sherd_profile_free().
 * @dilate: of a board that is so many times as slow (dilate.h).
 */
int profile_measure(struct sherd_profile **profile, const char *model,
		    const struct sherd_model_params *params, double seconds, float dilate,
		    struct sherd_error *err);

/* The same of shards in @dir, as @p says; of @params device, threads and region are taken. */
int profile_measure_probe(struct sherd_profile **profile, const struct probe *p, const char *dir,
			  const struct sherd_model_params *params, float dilate,
			  struct sherd_error *err);

/* What memory this machine has, and has left now. */
void profile_set_memory(struct sherd_profile *p);

#endif
