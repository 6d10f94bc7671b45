/* SPDX-License-Identifier: MIT */
/*
 * same_model: whether a file is the model that a plan was made for. Its shape is in its header; its
 * weights are known by their hash, for which a large file would have to be read.
 */
#ifndef SHERD_SAME_MODEL_H
#define SHERD_SAME_MODEL_H

#include "plan/plan.h"

/* -EINVAL, with the sentence: it is not; a file of more than @limit bytes that has the plan's shape
 * and has never been packed here is taken for it. */
int same_model(const struct sherd_plan *plan, const char *path, uint64_t limit,
	       struct sherd_error *err);

#endif
