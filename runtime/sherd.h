/* SPDX-License-Identifier: MIT */
/*
 * libsherd - runs language models on OpenCL devices from packed, quantized shards.
 *
 * Who owns what:
 *
 *   A *model* is weights, hyper-parameters and tokenizer. It is immutable once open, and any
 *   number of sessions share it. It must outlive them.
 *
 *   A *session* is one sequence: its tokens, its pages of the KV cache, its sampler. It is made
 *   from a model and freed by sherd_session_free().
 *
 *   The only way to compute is sherd_step(): a batch of (session, tokens or hidden rows) goes
 *   through a range of layers and gives hidden rows or logits. The rows it returns belong to the
 *   model and live until its next step. Batching sessions, chunking a prompt or cutting the
 *   layers into ranges never changes a result's bits (Documentation/arithmetic.rst).
 *
 *   A model, its sessions, drafts and chats are used by one thread at a time.
 *
 *   What is given to a function stays the caller's, and need not live longer than the call unless
 *   it is said here. What a function gives is the library's, unless it is said to be malloc'd:
 *   free() it. Each ..._new() and ..._open() has its ..._free() or ..._close(), which take NULL, too.
 *
 * Positions count tokens from 0, layers from 0, ranges of layers are [first, end). Sizes are bytes,
 * times seconds. Arrays are row by row, rows first: [n][hidden].
 *
 * Functions return 0 or a negative errno, and leave one sentence for a person in *err, which may
 * be NULL. After a failure what was to be given is NULL or 0, and nothing else has changed. The library
 * never prints and never exits. Wherever they come from, these mean:
 *
 *	-EINVAL		an argument, or a file, is not what it should be
 *	-ENOENT		there is no such file, or nothing of that kind in it
 *	-ENOTSUP	a kind that this library does not know; the sentence lists those it knows
 *	-ENOMEM		no memory: the host's, or the device's
 *	-ENODEV		no such device, or it is gone
 *	-EBADE		the device computes wrong numbers, or its driver crashed when it was tried
 *	-ETIMEDOUT	it hung when it was tried
 *	-EIO		a driver, a disk or a child process failed
 *
 * and what is said at a function; files give the errnos of open(), read() and write() besides.
 *
 *	struct sherd_error err;
 *	struct sherd_model_params params = SHERD_MODEL_PARAMS_INIT;
 *	struct sherd_model *model;
 *	struct sherd_session *session;
 *
 *	if (sherd_model_open(&model, "tiny.gguf", &params, &err))
 *		...
 *	sherd_session_new(&session, model, NULL, &err);
 *	sherd_tokenize(sherd_model_tokenizer(model), "Once", 4, SHERD_TOK_SPECIAL, &ids, &n, &err);
 *	sherd_prefill(session, ids, n, &logits, &err);
 *	while ((token = sherd_session_sample(session, logits)) != eos)
 *		sherd_prefill(session, &token, 1, &logits, &err);
 */
#ifndef SHERD_H
#define SHERD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHERD_VERSION_MAJOR 0
#define SHERD_VERSION_MINOR 1
#define SHERD_VERSION_PATCH 0
#define SHERD_VERSION	    "0.1.0"

/* One sentence: what, what is wrong with it, and where it helps what to do. No final newline. */
struct sherd_error {
	char msg[512];
};

/* "0.1.0", for ever: of the library that is running, where SHERD_VERSION is the header's. */
const char *sherd_version(void);

/* ---------------------------------------------------------------- model */

struct sherd_model;
struct sherd_session;
struct sherd_tokenizer;

enum sherd_kv_type {
	SHERD_KV_F16, /* halves, rounded to nearest even */
	SHERD_KV_INT8, /* a float scale per (position, head) */
	SHERD_KV_F32, /* for checking against float implementations */
};

/* How one vector is made of an encoder's rows, one for each token of a text. */
enum sherd_pooling {
	SHERD_POOL_MODEL, /* as the model's file says */
	SHERD_POOL_NONE, /* it is not: all rows */
	SHERD_POOL_MEAN, /* their mean */
	SHERD_POOL_CLS, /* the first one */
	SHERD_POOL_LAST, /* the last one */
};

/*
 * Something to say while a long piece of work runs: @done of @total (0: unknown) units of @what, which
 * lives for the call.
 */
typedef void (*sherd_progress_fn)(void *ctx, const char *what, uint64_t done, uint64_t total);
/* A remark that a person should see ("the cache is full: packing into memory"). */
typedef void (*sherd_note_fn)(void *ctx, const char *sentence);

/* Zeros are the defaults. Strings are copied; progress, note and ctx are used as long as the model is. */
struct sherd_model_params {
	/* NULL or "auto"; "reference"; "cpu", "gpu"; a number or part of a name */
	const char *device;
	/*
	 * What was measured of the device (`sherd tune`): NULL looks where such files are kept,
	 * "none" takes the defaults, a path takes that file.
	 */
	const char *tune;
	int n_threads; /* for CPU devices; 0: one for each CPU that this process may use */
	int n_ctx; /* positions of one session; 0: min(trained, 4096) */
	int n_sessions; /* sessions at full context that the KV cache holds; 0: 1 */
	int n_batch; /* rows one step may take; 0: 256 */
	int bits; /* 0: as the file has it; 4 or 8: requantize F32/F16/BF16 weights */
	enum sherd_kv_type kv_type;
	/* the KV cache's memory is taken at once, not as it fills: what is promised is there */
	bool hold_kv;
	/*
	 * What holds the weights in memory: NULL or "auto" takes the first that works of "sherd"
	 * (the kernel module), "udmabuf", "locked" and "plain"; a name takes that one or fails.
	 */
	const char *region;
	int first_layer, end_layer; /* layers to load: [first, end); 0, 0: all */
	bool no_cache; /* neither read nor write the cache of packed shards */
	bool untested; /* skip the device's self-test (for debugging a device) */
	sherd_progress_fn progress;
	sherd_note_fn note;
	void *ctx; /* passed to progress and note */
};

#define SHERD_MODEL_PARAMS_INIT \
	{                       \
		.device = NULL, \
	}

#define SHERD_UNTESTED "untested"

/* Strings are the model's. */
struct sherd_model_info {
	const char *path; /* the file that was opened, after resolving names */
	const char *arch; /* "llama", "qwen2", "gpt2", ... */
	const char *name; /* general.name, or "" */
	const char *device; /* the device's name */
	const char *device_why; /* why it was chosen: one clause */
	/* if it was measured to be the fastest of several: what params.device takes for it; or "" */
	const char *device_chosen;
	const char *tune; /* the tune file that is used, and what it says; "": none */
	int n_layers, first_layer, end_layer;
	int hidden, n_heads, n_kv_heads, head_dim, ffn; /* widths, in values: of a row, a head, an FFN */
	int n_vocab; /* of logits' rows; a tokenizer may have fewer tokens */
	int n_ctx, n_ctx_train; /* positions of a session: here, and in training */
	int n_batch, n_threads; /* rows of a step at most; of a CPU device, 0: as many as there are */
	/*
	 * Rows look at later ones too: a text is one item of one step, which gives hidden rows at the
	 * last layer and no logits. See sherd_embed().
	 */
	bool encoder;
	enum sherd_pooling pooling; /* of an encoder: never SHERD_POOL_MODEL */
	uint64_t n_params;
	uint64_t weight_bytes; /* of the packed shard: planes only */
	/* of weights that decoding one token reads: no embedding table, and of experts the used ones */
	uint64_t token_bytes;
	uint64_t kv_bytes; /* of the KV cache */
	int kv_page, kv_pages; /* positions of a page, which belongs to one session; pages */
	uint64_t scratch_bytes; /* of activations and other device buffers */
	/*
	 * Hex: equal profiles give equal bits. SHERD_UNTESTED: nobody knows, and it is equal to
	 * none.
	 */
	const char *bit_profile;
	const char *source_sha256; /* of the loaded layers' tensors, as the source has them */
	bool packed_in_memory; /* no room in the cache */
	const char *region; /* what holds the weights: "pinned by /dev/sherd, ..." */
	const char *weights; /* how the device reads them: "in place", "dma-buf (...)", "copy" */
	/* a line for each better way of either, and why it was not taken; or "" */
	const char *refused;
};

/*
 * Opens @name: a GGUF file (any part of a split one), a Hugging Face folder or repository name, a
 * packed shard or an Ollama model name. What is no shard is packed once into the user's cache. @params
 * may be NULL. -EPROTONOSUPPORT: a shard of another layout version, to be packed again.
 */
int sherd_model_open(struct sherd_model **model, const char *name,
		     const struct sherd_model_params *params, struct sherd_error *err);
void sherd_model_close(struct sherd_model *model);
/*
 * Has the device compute a small known vector with the model's kernels, in milliseconds. -EBADE: it
 * gives other bits than when it was opened, and what it computed since is not to be trusted. Steps
 * do so themselves from time to time, and fail then; a run that ends may ask for its last ones.
 */
int sherd_model_check(struct sherd_model *model, struct sherd_error *err);
/* The model's, as it is from its opening on. */
const struct sherd_model_info *sherd_model_info(const struct sherd_model *model);
/* The model's; NULL for a shard that has none (not the head's). */
const struct sherd_tokenizer *sherd_model_tokenizer(const struct sherd_model *model);

/* -------------------------------------------------------------- session */

struct sherd_sampler_params {
	float temp; /* <= 0: greedy */
	int top_k; /* <= 0: off */
	float top_p; /* >= 1: off */
	float min_p; /* <= 0: off */
	float repeat_penalty; /* 1: off */
	int repeat_last_n; /* tokens the penalty looks back at */
	uint64_t seed;
};

#define SHERD_SAMPLER_PARAMS_INIT                                             \
	{                                                                     \
		.temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f,    \
		.repeat_penalty = 1.0f, .repeat_last_n = 64, .seed = 0,       \
	}

enum sherd_wire {
	SHERD_WIRE_INT8, /* groups of 32 with a half scale */
	SHERD_WIRE_F16,
	SHERD_WIRE_F32,
};

struct sherd_session_params {
	struct sherd_sampler_params sampler;
	/* [n_cuts], rising or not: the residual is put through the wire format before each of these layers */
	const int *cuts;
	int n_cuts;
	enum sherd_wire wire;
};

/*
 * @params may be NULL: greedy, no cuts; it is copied. The session starts at position 0 and takes
 * pages as it grows. The model must outlive it. -EINVAL: a cut that is none of the model's.
 */
int sherd_session_new(struct sherd_session **session, struct sherd_model *model,
		      const struct sherd_session_params *params, struct sherd_error *err);
void sherd_session_free(struct sherd_session *session);
/* Positions so far: the next token's position. */
int sherd_session_pos(const struct sherd_session *session);
/* Forgets positions from @pos on (0: all), and gives their pages back. -EINVAL: it has not got there. */
int sherd_session_truncate(struct sherd_session *session, int pos, struct sherd_error *err);
/* The tokens so far, the session's own until it moves; *n of them. -1: hidden rows were given. */
const int32_t *sherd_session_tokens(const struct sherd_session *session, int *n);
/*
 * Writes the session to @path, whole or not at all: its tokens, its part of the KV cache, its cuts
 * (not its sampler). What a model has read need not be read again: a process that loads the file
 * goes on with the same bits. @note is a text of the caller's that goes with it, at most 64 MiB (-E2BIG);
 * it may be NULL. A session at position 0 is a file too. -EINVAL: it was given hidden rows, its layers are
 * not equally far, or its device was not tested.
 */
int sherd_session_save(const struct sherd_session *session, const char *path, const char *note,
		       struct sherd_error *err);
/*
 * Fills a session at position 0 with what sherd_session_save() wrote. It must be of the same model,
 * bits, layers, KV type, cuts and bit profile: -ESTALE if it is not, -EINVAL if it is damaged or
 * something else, -ENOSPC if it has more positions than the context. It stays at 0 then. *note
 * is malloc'd, or NULL if there is none; a failure leaves it too, if that much of the file is whole.
 * @note may be NULL.
 */
int sherd_session_load(struct sherd_session *session, const char *path, char **note,
		       struct sherd_error *err);
/*
 * Draws the next token, an id, from @logits [n_vocab] with the session's sampler. The draw is a
 * function of (seed, position, logits, tokens so far) alone: a replayed session draws the same. The
 * session does not move: the token is in it when a step has taken it.
 */
int32_t sherd_session_sample(struct sherd_session *session, const float *logits);
/*
 * The same for position @pos, which is not after the session's: from a row of a step that wanted all
 * of them. @logits are of the row before it.
 */
int32_t sherd_session_sample_at(struct sherd_session *session, int pos, const float *logits);
/* Other draws from here on. @sampler is copied. */
void sherd_session_set_sampler(struct sherd_session *session,
			       const struct sherd_sampler_params *sampler);

/* ----------------------------------------------------------------- step */

enum sherd_want {
	SHERD_WANT_NONE, /* only fill the KV cache */
	SHERD_WANT_LAST, /* the last row of this item */
	SHERD_WANT_ALL, /* every row of this item */
};

/*
 * @n new positions of one session. A session stands at most once in a batch. Nothing of an item is used
 * after its step.
 */
struct sherd_item {
	struct sherd_session *session;
	/* [n] ids; NULL if hidden rows are given. Needed too for repeat_penalty. */
	const int32_t *tokens;
	const float *hidden; /* [n][hidden]: when the range does not start at layer 0 */
	int n;
	enum sherd_want want;
	/*
	 * The hidden rows came off the wire (sherd_wire_decode): a cut right before the range's
	 * first layer has been made by the sender, and is not made again. Twice is not always once.
	 */
	bool wired;
	/*
	 * Where the wanted rows go instead of to sherd_rows: as sherd_wire_encode() has them, in
	 * the session's wire type. For all items of a step, or for none; the range must not end at
	 * the last layer. What lies there after a failure is nothing.
	 */
	void *out;
};

struct sherd_rows {
	/* [n_rows][row_len]: wanted rows, in item order; the model's. NULL: they went to items' out */
	const float *data;
	int n_rows;
	int row_len; /* n_vocab at the last layer (encoders have hidden rows there), else hidden */
};

/*
 * Runs the items, at most n_batch rows together, through layers [first, end) (0, 0: all).
 * A range that ends at the last layer gives logits, any other hidden rows. @rows may be NULL. On
 * failure no session has moved. -EINVAL: items that do not fit the model or each other; -E2BIG: more
 * rows than n_batch; -ENOSPC: a context, or the KV cache, is full; -EDOM: a value became NaN or
 * infinite, the sentence has layer and position; -ENOTSUP: more of a text whose beginning an encoder
 * has read.
 */
int sherd_step(struct sherd_model *model, const struct sherd_item *items, int n_items,
	       int first_layer, int end_layer, struct sherd_rows *rows, struct sherd_error *err);

/*
 * sherd_step() for one session, all layers, in as many steps as it takes; *logits [n_vocab] of the
 * last token, the model's until its next step. On failure the session has not moved: as sherd_step(),
 * and -ENOTSUP: an encoder has no logits.
 */
int sherd_prefill(struct sherd_session *session, const int32_t *tokens, int n,
		  const float **logits, struct sherd_error *err);

/*
 * A text as a vector: tokens through all layers of an encoder in one step (at most min(n_ctx, n_batch)
 * of them: -E2BIG), the rows pooled, and if @normalize scaled to a length of 1. @out [hidden], but
 * [n][hidden] if the pooling is SHERD_POOL_NONE: @pooling, or with SHERD_POOL_MODEL that of
 * sherd_model_info(). The session, which need not be new, has forgotten everything after it,
 * also after a failure. -ENOTSUP: the model is no encoder.
 */
int sherd_embed(struct sherd_session *session, const int32_t *tokens, int n,
		enum sherd_pooling pooling, bool normalize, float *out, struct sherd_error *err);

/* ---------------------------------------------------------------- draft */

/*
 * Speculative decoding: tokens are guessed, by a small model or from the session's own text, and one
 * step checks several. The text is the same as without, at any temperature, since what is drawn is
 * drawn from the session's model: guesses change the speed alone. How many are made follows from
 * measured times; where they do not pay, none are.
 *
 * A draft belongs to one session, and is freed before it. It needs the tokens that the session has,
 * and works wherever in a text it begins.
 */
struct sherd_draft;

/* Draws as sherd_session_sample_at() does, perhaps with other logits (an end that is not to come). */
typedef int32_t (*sherd_draw_fn)(void *ctx, struct sherd_session *session, int pos,
				 const float *logits);

struct sherd_draft_params {
	/*
	 * That guesses: with the same vocabulary, and room for a session of its own. It must
	 * outlive the draft. NULL: guesses are what followed in the session's text when its end
	 * stood there before.
	 */
	struct sherd_model *model;
	int n_max; /* guesses at a time, 1 to 64; 0: 8 */
	bool always; /* so many each time, even if that is slower */
	sherd_draw_fn draw; /* NULL: sherd_session_sample_at() */
	void *ctx; /* passed to draw */
};

struct sherd_draft_stats {
	uint64_t n_guessed, n_accepted; /* tokens */
	uint64_t n_steps, n_tokens; /* of the model; drawn in these */
	/*
	 * What steps and guesses took, and what as many tokens would have taken one by one. The
	 * first step of each length is left out of both, which is slow.
	 */
	double seconds, plain_s;
	/* why no more guesses are made: the draft model failed. NULL: they are. The draft's. */
	const char *stopped;
};

/* @params is copied. -EINVAL: another vocabulary, or a model that is not whole. */
int sherd_draft_new(struct sherd_draft **draft, struct sherd_session *session,
		    const struct sherd_draft_params *params, struct sherd_error *err);
void sherd_draft_free(struct sherd_draft *draft);
/*
 * sherd_prefill() of @last, the token that was drawn last, and sherd_session_sample() in one: *token is
 * the next one. Fails as sherd_step() does. The session may be ahead of the tokens that were handed
 * out, until sherd_draft_settle(): call that before using the session in any other way.
 */
int sherd_draft_next(struct sherd_draft *draft, int32_t last, int32_t *token,
		     struct sherd_error *err);
void sherd_draft_settle(struct sherd_draft *draft);
/* Since sherd_draft_new(). */
void sherd_draft_stats(const struct sherd_draft *draft, struct sherd_draft_stats *stats);

/* ----------------------------------------------------------------- wire */

/*
 * Hidden rows as one process hands them to the next. Decoding what was encoded gives the bits that
 * a cut of that wire type gives within one process, and any run of rows is a slice of the bytes:
 * runtime/infer/wire.c has the layout.
 */
/* Of rows [n_rows][hidden] in that type. */
size_t sherd_wire_bytes(enum sherd_wire wire, int n_rows, int hidden);
/* @rows [n_rows][hidden] to @out [sherd_wire_bytes()]. -EDOM: a value that the wire does not hold. */
int sherd_wire_encode(enum sherd_wire wire, const float *rows, int n_rows, int hidden, void *out,
		      struct sherd_error *err);
/* And back. -EPROTO: bytes that sherd_wire_encode() does not write; the sentence says where. */
int sherd_wire_decode(enum sherd_wire wire, const void *in, int n_rows, int hidden, float *rows,
		      struct sherd_error *err);

/* ------------------------------------------------------------ tokenizer */

enum sherd_tok_flags {
	SHERD_TOK_SPECIAL = 1 << 0, /* add BOS/EOS as the model's metadata says */
	/* "<|im_end|>" in the text is the control token, not its letters */
	SHERD_TOK_PARSE = 1 << 1,
};

/*
 * A tokenizer alone, of whatever is a model (of vocabulary-only GGUF files too). -ENOENT: it has none.
 */
int sherd_tokenizer_open(struct sherd_tokenizer **tok, const char *name, struct sherd_error *err);
void sherd_tokenizer_free(struct sherd_tokenizer *tok);
/* Ids are 0 to this less one. */
int sherd_tokenizer_n_vocab(const struct sherd_tokenizer *tok);
/* The ids that begin and end a text; -1 where the model has none. */
int32_t sherd_tokenizer_bos(const struct sherd_tokenizer *tok);
int32_t sherd_tokenizer_eos(const struct sherd_tokenizer *tok);
/* True for EOS, EOT, <|im_end|> and their like: generation ends here. */
bool sherd_tokenizer_is_end(const struct sherd_tokenizer *tok, int32_t id);
/* As the model's file has it, the tokenizer's; NULL: it has none. */
const char *sherd_tokenizer_chat_template(const struct sherd_tokenizer *tok);
/*
 * @text [len] bytes to *ids [*n], malloc'd. Invalid UTF-8 is kept as bytes or replaced, never refused.
 * @flags: of enum sherd_tok_flags. -E2BIG: a longer text than can be tokenized at once.
 */
int sherd_tokenize(const struct sherd_tokenizer *tok, const char *text, size_t len, unsigned flags,
		   int32_t **ids, int *n, struct sherd_error *err);
/*
 * The bytes of one token (not NUL-terminated, may be part of a character): copied to @buf [size] as
 * far as they fit; returns how many there are, 0 for an id that is none. @special: control tokens give
 * their names, not "".
 */
int sherd_token_text(const struct sherd_tokenizer *tok, int32_t id, bool special, char *buf,
		     size_t size);
/*
 * Text of a whole sequence @ids [n]: *text [*len], malloc'd and NUL-terminated; the leading space that
 * SPM adds is dropped. -EINVAL: an id that is none.
 */
int sherd_detokenize(const struct sherd_tokenizer *tok, const int32_t *ids, int n, bool special,
		     char **text, size_t *len, struct sherd_error *err);

/* ----------------------------------------------------------------- chat */

/*
 * A chat template (Jinja, as in a model's file) makes the text for the model out of messages: the
 * whole conversation each time, so that a prompt is a function of its messages alone.
 */
struct sherd_message {
	const char *role; /* "system", "user", "assistant", or what else the template knows */
	const char *content;
};

struct sherd_chat;

/*
 * @text: a template; NULL: the model's own, -ENOENT if it has none. @tok must outlive it. -EINVAL: it
 * cannot be parsed; what is unknown in a template is refused where it is used.
 */
int sherd_chat_open(struct sherd_chat **chat, const struct sherd_tokenizer *tok, const char *text,
		    struct sherd_error *err);
void sherd_chat_close(struct sherd_chat *chat);
/* A value that the template may ask for, as JSON: ("enable_thinking", "false"). -EINVAL: it is none. */
int sherd_chat_set(struct sherd_chat *chat, const char *name, const char *json,
		   struct sherd_error *err);
/*
 * @messages [n] as text: *text [*len], malloc'd and NUL-terminated. @answer: up to where the model's
 * answer begins. -EINVAL: the template refuses them, or fails, as its sentence says; -ENOTSUP: it asks for
 * what is not known; -EILSEQ: a message is no UTF-8; -E2BIG: a text, or a rendering, without an end.
 */
int sherd_chat_text(const struct sherd_chat *chat, const struct sherd_message *messages, int n,
		    bool answer, char **text, size_t *len, struct sherd_error *err);
/*
 * The same as tokens *ids [*n_ids], malloc'd: control tokens are those of the text, and the token that
 * begins a text stands before them once, if the model wants one.
 */
int sherd_chat_tokens(const struct sherd_chat *chat, const struct sherd_message *messages, int n,
		      bool answer, int32_t **ids, int *n_ids, struct sherd_error *err);
/* The templates that come along, by number: name, and what it is for. False: there are no more. */
bool sherd_chat_builtin(int i, char name[32], char about[128]);
/* Its text by its name, for ever; NULL: there is none. */
const char *sherd_chat_builtin_text(const char *name);

#ifdef __cplusplus
}
#endif

#endif
