/* SPDX-License-Identifier: MIT */
/*
 * run: what the files of `sherd run` share. A text's tokens come from a *source*: a model in this
 * process (run_model.c), or the stages of a plan (run_plan.c); what is done with them is the same
 * (run_text.c).
 */
#ifndef SHERD_RUN_H
#define SHERD_RUN_H

#include <signal.h>
#include <sys/types.h>
#include "ends.h"
#include "pipeline.h"
#include "stream.h"
#include "watch.h"

struct run;

/* All return a tool's exit code, and have said why. */
struct run_source {
	int (*open)(struct run *r); /* sets tok, n_ctx */
	void (*say)(const struct run *r); /* what computes */
	int (*start)(struct run *r); /* a session; ids are known */
	/* The token after @ids [n], which come behind those so far; @token NULL: none is wanted. */
	int (*next)(struct run *r, const int32_t *ids, int n, int32_t *token);
	void (*end)(struct run *r); /* what is to be said after the speed; may be NULL */
};

extern const struct run_source run_source_model, run_source_plan;

struct run {
	const struct tool *tool; /* run, or chat */
	/* the command line */
	const char *system, *template;
	const char *model_name, *prompt_arg, *file, *wire, *kv, *journal, *resume, *trace_at;
	const char *session_file, *draft_name;
	struct sherd_model_params params;
	struct sherd_sampler_params sampler;
	struct pipeline_params pipe_params;
	struct opt_strs stops;
	struct opt_ints cuts;
	struct opt_seed seed;
	int n_predict, draft_max;
	bool ignore_eos, echo, verbose, from_stdin, no_limits, raw;
	enum sherd_wire wire_type;

	struct trace_file *trace; /* NULL: none */
	char *prompt;
	size_t prompt_len;
	const struct run_source *source;
	const struct sherd_tokenizer *tok;
	int n_ctx, n_ctx_train;
	int32_t *ids; /* of the prompt */
	int n_ids;
	bool is_answer; /* the prompt is a message, and what follows is said by somebody else */
	struct stream stream;
	/* a journal's */
	int log_fd; /* -1: there is none */
	char *log_text;
	off_t log_end; /* of its whole lines */
	struct json_t *log_json;
	int32_t *made; /* [n_replay]: tokens that were made before */
	int n_replay;
	/* a model's */
	struct sherd_model *model;
	struct sherd_session *session;
	struct ends ends; /* for --ignore-eos */
	struct watch watch;
	int n_restored; /* tokens of the prompt that the session, or session_file, had */
	struct sherd_model *draft_model; /* NULL: n-grams, or no draft */
	struct sherd_draft *draft; /* NULL: none */
	struct sherd_draft_stats draft_said; /* what earlier answers told of */
	/* a plan's */
	struct pipeline *pipe;
	struct sherd_tokenizer *own_tok;
	uint64_t pipe_session;

	int n_made;
	double start_s, opened, prefilled, first, ended; /* seconds */
	const char *why_stopped; /* a sentence, or NULL */
};

extern volatile sig_atomic_t run_interrupted; /* the signal */

/* Journals; TOOL_OK, or an exit code. Without one they do nothing. */
int run_log_check(const struct run *r); /* before anybody is waited for */
int run_log_start(struct run *r);
int run_log_token(struct run *r, int32_t token);
/* Everything that decides the tokens comes from there, and the tokens so far. */
int run_log_resume(struct run *r);
void run_log_close(struct run *r);

/* The options that a text's draws depend on, shared by run and chat. */
#define RUN_SAMPLER_OPTS(r)                                                                        \
	{ 's', "seed", OPT_SEED, &(r)->seed, 0, 0, "SEED",                                         \
	  "same seed, same text, on every device (default: -1, a fresh one, which is printed)" },  \
	{ 0, "temp", OPT_FLOAT, &(r)->sampler.temp, 0, 100, "T",                                   \
	  "temperature; 0 always takes the likeliest token (default: 0.8)" },                      \
	{ 0, "top-k", OPT_INT, &(r)->sampler.top_k, 0, 1 << 24, "N",                               \
	  "draw among the N likeliest tokens; 0: all (default: 40)" },                             \
	{ 0, "top-p", OPT_FLOAT, &(r)->sampler.top_p, 0, 1, "P",                                   \
	  "draw among the likeliest that make up P together; 1: all (default: 0.95)" },            \
	{ 0, "min-p", OPT_FLOAT, &(r)->sampler.min_p, 0, 1, "P",                                   \
	  "leave out what is less likely than P times the best; 0: nothing (default: 0.05)" },     \
	{ 0, "repeat-penalty", OPT_FLOAT, &(r)->sampler.repeat_penalty, 0.01, 100, "X",            \
	  "make the last 64 tokens less likely; 1: no (default: 1)" },                             \
	{ 0, "stop", OPT_STRS, &(r)->stops, 0, 0, "STRING",                                        \
	  "end before this text; may be given several times" },                                    \
	{ 'b', "batch-size", OPT_INT, &(r)->params.n_batch, 1, 4096, "N",                          \
	  "tokens of the prompt that are computed together (default: 256); changes speed and "     \
	  "memory, never the text" },                                                              \
	{ 0, "kv", OPT_STR, &(r)->kv, 0, 0, "TYPE",                                                \
	  "the KV cache's type: f16 (default), int8, f32" }

/* Of --draft, shared by run and chat too. */
#define RUN_DRAFT_OPTS(r)                                                                          \
	{ 0, "draft", OPT_STR, &(r)->draft_name, 0, 0, "MODEL",                                    \
	  "guess tokens with this small model of the same vocabulary, or with \"ngram\" from "     \
	  "the text so far, and check several in one step: faster where the guesses are good, "    \
	  "and never another text" },                                                              \
	{ 0, "draft-max", OPT_INT, &(r)->draft_max, 1, 64, "N",                                    \
	  "tokens to guess at a time, at most (default: 8); fewer are where that is faster" }

/* r->prompt, and then, with r->tok and r->n_ctx known, r->ids. */
int run_read_prompt(struct run *r);
int run_tokenize_prompt(struct run *r);

/* What these can be wrong with; and the seed that nobody gave, said on stderr. */
int run_check_options(struct run *r);
void run_draw_seed(struct run *r);

/*
 * --session: TOOL_OK, or an exit code; without it they do nothing. The first takes what is known of
 * @ids [n] (r->n_restored of them, less than n), the other writes what is known now.
 */
int run_session_restore(struct run *r, const int32_t *ids, int n);
int run_session_keep(struct run *r);
/* How many tokens two texts have in common, from their beginnings on. */
int run_n_common(const int32_t *a, int n_a, const int32_t *b, int n_b);

/* The token of position @pos, from the logits of the row before it; a model's source alone. */
int32_t run_draw(struct run *r, struct sherd_session *s, int pos, const float *logits);
/* --draft; without it they do nothing. */
int run_draft_open(struct run *r); /* the model is open */
int run_draft_start(struct run *r); /* the session is there */
void run_draft_say(struct run *r); /* what it was worth since the last time */
void run_draft_close(struct run *r); /* before its session is freed */

/* The prompt, and what follows it, to standard output. */
int run_text(struct run *r);
/*
 * What follows r->ids, of which the session may know some, to standard output; may be called again.
 * Ctrl-C ends it, with run_interrupted. TOOL_OK, or an exit code: there is no use in going on.
 */
int run_answer(struct run *r);

#endif
