/* SPDX-License-Identifier: MIT */
/*
 * stage: what computes, as the protocol sees it: a run of layers behind a queue. net/ knows no
 * models; who has one (tools/stage.c), or pretends to (the tests), implements this. Jobs are done
 * in the order in which they were submitted, and each says so once, by done(), on the loop's thread
 * and never from within submit().
 */
#ifndef SHERD_STAGE_H
#define SHERD_STAGE_H

#include "base/base.h"

struct sherd_stage;

enum sherd_job_kind {
	SHERD_JOB_LOAD, /* the first job: weights into memory; fills stage->info */
	SHERD_JOB_OPEN, /* room for a session: refused with the numbers where there is none */
	/* all of a session's memory is free again; of one that is not there: nothing */
	SHERD_JOB_CLOSE,
	SHERD_JOB_STEP,
};

/* A session as a stage needs to know it. */
struct sherd_stage_session {
	uint64_t id;
	uint32_t max; /* positions that it may come to have: reserved at once */
	struct sherd_session_params params; /* sampler, cuts, wire */
	bool ignore_eos; /* the ends of a text are never drawn */
};

struct sherd_job_item {
	uint64_t session;
	uint32_t position; /* of the first row; the session has got so far, exactly */
	int n;
	const int32_t *tokens; /* [n] */
	const void *rows; /* [n][row_bytes] in the session's wire type; NULL for the first stage */
	bool want; /* the last stage: draw the token after the last row */
	/* results */
	void *out; /* [n][row_bytes]; NULL for the last stage */
	int32_t token;
	int rc; /* of this item: one session's bad rows do not fail another's */
	struct sherd_error err;
};

struct sherd_job {
	enum sherd_job_kind kind;
	struct sherd_job_item *items; /* STEP: [n_items], a session at most once */
	int n_items;
	const struct sherd_stage_session *session; /* OPEN */
	uint64_t id; /* CLOSE */
	int rc; /* LOAD, OPEN */
	struct sherd_error err;
	uint64_t started_us, ended_us; /* CLOCK_MONOTONIC, of the computing itself */
	void (*done)(void *ctx, struct sherd_job *job);
	void *ctx;
	struct sherd_job *next; /* the stage's */
};

/* Valid once the LOAD job is done. */
struct sherd_stage_info {
	int first, end, n_layers, hidden;
	int n_batch; /* rows that one STEP takes */
	int n_ctx; /* positions of one session */
	uint32_t room; /* positions of all sessions together */
	size_t row_bytes[SHERD_WIRE_F32 + 1]; /* of a row between stages, by wire type */
	char bit_profile[SHERD_SHA256_HEX]; /* "": untested, and equal to none */
	char model[SHERD_SHA256_HEX]; /* hash of the source tensors */
};

struct sherd_stage_ops {
	void (*submit)(struct sherd_stage *s, struct sherd_job *job);
	/* Nobody uses it any more; jobs that are not done yet are dropped without done(). */
	void (*put)(struct sherd_stage *s);
};

struct sherd_stage {
	const struct sherd_stage_ops *ops;
	struct sherd_stage_info info;
};

/* Which stage is wanted. */
struct sherd_stage_spec {
	char model[SHERD_SHA256_HEX];
	int bits; /* that float matrices were requantized to; 0: none were */
	int first, end, n_ctx, n_sessions, n_batch;
	enum sherd_kv_type kv;
};

/*
 * Where stages come from. One that is there already is shared: a stage serves any number of runs.
 */
struct sherd_stage_source {
	int (*get)(void *ctx, const struct sherd_stage_spec *spec, struct sherd_stage **s,
		   struct sherd_error *err);
	void *ctx;
};

#endif
