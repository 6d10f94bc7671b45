/* SPDX-License-Identifier: MIT */
/*
 * run_model: tokens from a model in this process.
 */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "run.h"

static void say_refused(void *ctx, const char *sentence)
{
	(void)ctx;
	fprintf(stderr, "sherd: not taken: %s\n", sentence);
}

static void say(const struct run *r)
{
	const struct sherd_model_info *info = sherd_model_info(r->model);

	tool_progress_end();
	fprintf(stderr, "sherd: %s: %s\n", info->device, info->device_why);
	if (!r->verbose)
		return;
	fprintf(stderr,
		"sherd: %s: %s%s%s, %d layers, hidden %d, %d/%d heads, ffn %d, vocabulary %d\n",
		info->path, info->arch, info->name[0] ? " " : "", info->name, info->n_layers,
		info->hidden, info->n_heads, info->n_kv_heads, info->ffn, info->n_vocab);
	fprintf(stderr,
		"sherd: weights %s (%s a token)%s, KV cache %s for %d positions, scratch %s\n",
		tool_bytes(info->weight_bytes), tool_bytes(info->token_bytes),
		info->packed_in_memory ? ", packed in memory" : "", tool_bytes(info->kv_bytes),
		info->n_ctx, tool_bytes(info->scratch_bytes));
	fprintf(stderr, "sherd: weights are %s; the device reads them: %s\n", info->region,
		info->weights);
	sherd_each_line(info->refused, say_refused, NULL);
	fprintf(stderr, "sherd: kernels: %s\n", info->tune[0] ? info->tune : "not tuned");
	fprintf(stderr, "sherd: %d rows a step, bit profile %s\n", info->n_batch,
		info->bit_profile);
}

static int open_it(struct run *r)
{
	const struct sherd_model_info *info;
	struct sherd_error err;

	r->params.progress = tool_progress;
	r->params.note = tool_note;
	if (sherd_model_open(&r->model, r->model_name, &r->params, &err))
		return tool_fail(r->tool, &err);
	info = sherd_model_info(r->model);
	if (tool_refuse_encoder(r->tool, info))
		return TOOL_FAILED;
	r->tok = sherd_model_tokenizer(r->model);
	if (info->first_layer || info->end_layer != info->n_layers)
		return tool_failf(r->tool,
				  "%s: holds layers %d to %d of %d, and text needs all of them",
				  info->path, info->first_layer, info->end_layer - 1,
				  info->n_layers);
	if (tool_want_tokenizer(r->tool, r->model))
		return TOOL_FAILED;
	r->n_ctx = info->n_ctx;
	r->n_ctx_train = info->n_ctx_train;
	return run_draft_open(r);
}

static int start(struct run *r)
{
	struct sherd_session_params p = { .sampler = r->sampler };
	struct sherd_error err;

	p.sampler.seed = r->seed.v;
	p.cuts = r->cuts.v;
	p.n_cuts = r->cuts.n;
	p.wire = r->wire_type;
	watch_model(&r->watch, sherd_model_info(r->model));
	if (sherd_session_new(&r->session, r->model, &p, &err))
		return tool_fail(r->tool, &err);
	if (r->ignore_eos && ends_init(&r->ends, r->model, &err))
		return tool_fail(r->tool, &err);
	return run_draft_start(r);
}

/* A prompt goes in pieces, so that Ctrl-C is heard and the bar moves. */
static int feed(struct run *r, const int32_t *ids, int n_ids, const float **logits)
{
	const struct sherd_model_info *info = sherd_model_info(r->model);
	struct sherd_rows rows = { 0 };
	struct sherd_error err;

	for (int done = 0; done < n_ids && !run_interrupted;) {
		int n = n_ids - done < info->n_batch ? n_ids - done : info->n_batch;
		struct sherd_item item = {
			.session = r->session,
			.tokens = ids + done,
			.n = n,
			.want = done + n == n_ids ? SHERD_WANT_LAST : SHERD_WANT_NONE,
		};
		int rc;

		watch_begin(&r->watch, n, sherd_session_pos(r->session));
		rc = sherd_step(r->model, &item, 1, 0, 0, &rows, &err);
		watch_end(&r->watch);
		if (rc)
			return tool_fail(r->tool, &err);
		done += n;
		if (n_ids > 1)
			tool_progress(NULL, "reading the prompt", done, n_ids);
	}
	if (n_ids > 1)
		tool_progress_end();
	*logits = rows.data;
	return TOOL_OK;
}

int32_t run_draw(struct run *r, struct sherd_session *s, int pos, const float *logits)
{
	return r->ignore_eos ? ends_sample(&r->ends, s, pos, logits) :
			       sherd_session_sample_at(s, pos, logits);
}

static int next(struct run *r, const int32_t *ids, int n, int32_t *token)
{
	const float *logits = NULL;
	struct sherd_error err;
	int rc;

	if (r->draft && n == 1 && token) {
		watch_begin(&r->watch, 1, sherd_session_pos(r->session));
		rc = sherd_draft_next(r->draft, *ids, token, &err);
		watch_end(&r->watch);
		return rc ? tool_fail(r->tool, &err) : TOOL_OK;
	}
	if (r->draft)
		sherd_draft_settle(r->draft);
	rc = feed(r, ids, n, &logits);
	if (!rc && token && logits && !run_interrupted)
		*token = run_draw(r, r->session, sherd_session_pos(r->session), logits);
	return rc;
}

const struct run_source run_source_model = { open_it, say, start, next, run_draft_say };
