/* SPDX-License-Identifier: MIT */
/* same_model: what is cheap is asked first. */
#include <string.h>
#include "base/base.h"
#include "model/shard.h"
#include "model/source.h"
#include "same_model.h"

/* Shards have the shape of their model, whichever layers they hold. */
static int check_shape(const struct sherd_plan *plan, const char *path, struct sherd_error *err)
{
	struct sherd_hparams hp;
	struct gguf *g;
	int rc = sherd_source_open(&g, path, err);

	if (rc)
		return rc;
	rc = sherd_hparams_read(&hp, g, err);
	if (!rc && (strcmp(hp.arch->name, plan->arch) || hp.n_layers != plan->n_layers ||
		    hp.hidden != plan->hidden))
		rc = sherd_fail(err, -EINVAL,
				"%s is not the model of the plan: it is %s, %d layers of %d, and "
				"the plan's is %s, %d layers of %d",
				path, hp.arch->name, hp.n_layers, hp.hidden, plan->arch,
				plan->n_layers, plan->hidden);
	gguf_close(g);
	return rc;
}

static int check_hash(const struct sherd_plan *plan, const char *path, const char *hash,
		      struct sherd_error *err)
{
	if (!strcmp(hash, plan->model_hash))
		return 0;
	return sherd_fail(err, -EINVAL,
			  "%s is not the model of the plan: its hash is %.16s... and that of the "
			  "plan's is %.16s...",
			  path, hash, plan->model_hash);
}

int same_model(const struct sherd_plan *plan, const char *path, uint64_t limit,
	       struct sherd_error *err)
{
	/* as `sherd push` packs it, who may well have done so here */
	const struct sherd_pack_params p = { .bits = plan->bits,
					     .first_layer = plan->stages[0].first,
					     .end_layer = plan->stages[0].end };
	char hash[SHERD_SHA256_HEX] = "";
	int rc = check_shape(plan, path, err);

	rc = rc ? rc : sherd_model_hash(path, &p, limit, hash, err);
	if (rc == -ENOENT)
		return 0;
	return rc ? rc : check_hash(plan, path, hash, err);
}
