/* SPDX-License-Identifier: MIT */
/*
 * net: what loop and simulator share.
 */
#include "net/net.h"

static void hear_nothing(void *ctx, struct sherd_link *l)
{
	(void)ctx;
	(void)l;
}

static int expect_nothing(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
			  struct sherd_error *err)
{
	(void)ctx;
	(void)l;
	return sherd_fail(err, -EPROTO, "a %s frame came when nobody listened any more",
			  sherd_frame_name(f->type));
}

static void no_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     const uint8_t *payload)
{
	(void)ctx;
	(void)l;
	(void)f;
	(void)payload;
}

static void no_matter(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	(void)ctx;
	(void)l;
	(void)why;
}

const struct sherd_link_user sherd_deaf = { hear_nothing, expect_nothing, no_frame, no_matter };
