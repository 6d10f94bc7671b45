/* SPDX-License-Identifier: MIT */
/* measure: times of a run of layers, for profile.c. */
#ifndef SHERD_TOOL_MEASURE_H
#define SHERD_TOOL_MEASURE_H

#include "plan/profile.h"
#include "plan/sizes.h"

#define MEASURE_CHUNKS 11
#define MAX_REPS       15

extern const int measure_sizes[MEASURE_CHUNKS]; /* tokens of the chunks that are timed */

struct measure {
	const struct sherd_sizes *z; /* its name, hash, layers, width and kinds are used */
	struct sherd_profile *p; /* what the times go into */
	struct sherd_profile_width *w;
	struct sherd_model_params params;
	int *seen; /* [n_kinds]: layers that have been measured, but for the first */
	double seconds; /* for a window, about */
	float dilate;
	size_t n_others; /* bytes of other layers, that are read in between */

	/* a window of layers */
	struct sherd_model *model;
	struct sherd_session *session;
	int first, end, depth;
	int32_t *tokens; /* [n_ctx] */
	float *rows[2]; /* [largest chunk][hidden]: into a layer, out of it */
	uint8_t *others;
	/* times of one chunk, [repetition] each */
	double (*alone)[MAX_REPS]; /* [end - first] */
	double all[MAX_REPS], output[MAX_REPS];
};

/* Opens layers [first, end) of the model or shard at @path, and adds their times to the profile. */
int measure_window(struct measure *m, const char *path, int first, int end,
		   struct sherd_error *err);

#endif
