/* SPDX-License-Identifier: MIT */
/*
 * tool: what the sub-commands of `sherd` share - one option parser, one error path, one progress bar.
 * A sub-command is a file with a `struct tool`; main.c lists them.
 */
#ifndef SHERD_TOOL_H
#define SHERD_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "sherd.h"

/* Exit codes: 0 success, 1 the work failed, 2 the command line is wrong. */
enum { TOOL_OK = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

enum opt_kind { OPT_FLAG, OPT_INT, OPT_U64, OPT_SEED, OPT_FLOAT, OPT_STR, OPT_STRS, OPT_INTS };

/* -1 is no seed, and neither is none at all: the tool draws one. */
struct opt_seed {
	uint64_t v;
	bool given;
};

/* A list that an option may add to: repeated (OPT_STRS), or comma separated numbers (OPT_INTS). */
struct opt_strs {
	const char **v;
	int n;
};
struct opt_ints {
	int *v;
	int n;
};

struct opt {
	char short_name; /* 0: none */
	const char *long_name; /* NULL: none. Two-letter llama.cpp forms such as -ngl are not taken. */
	enum opt_kind kind;
	void *out; /* bool, int, uint64_t, float, const char *, or the struct opt_... of the kind */
	double lo, hi; /* numbers: the range that is accepted, if lo < hi */
	const char *arg; /* "N", "FILE"; NULL for flags */
	const char *help; /* one line or more; the default belongs in it */
};

struct tool {
	const char *name;
	const char *synopsis; /* "-m MODEL [-p PROMPT | -f FILE | -] [options]" */
	const char *summary; /* one line for `sherd --help` */
	const char *about; /* the paragraph that teaches, with examples */
	int (*main)(int argc, char **argv); /* argv[0] is the sub-command */
};

extern const struct tool tool_run, tool_chat, tool_bench, tool_embed, tool_info, tool_tokenize, tool_pack, tool_eval,
	tool_doctor, tool_devices, tool_tune, tool_cluster, tool_plan, tool_node, tool_push, tool_status;
/* Not listed in any help: device/ runs it as a child process, so that a driver may crash there. */
extern const struct tool tool_device_test;

/* Not in any help: prints options, or commands, for the scripts in tools/completion/. */
#define OPT_FOR_SHELLS "--options-for-shells"

/*
 * Parses options ("-n 5", "-n5", "--temp 0", "--temp=0", "--" ends them); what is left moves to the
 * front of argv, *argc is how many. -h/--help prints help made from @t and @opts and returns 1; a
 * wrong line prints one sentence to stderr and returns -1; 0: go on. @opts ends with an empty row.
 */
int opt_parse(const struct tool *t, const struct opt *opts, int *argc, char **argv);
void opt_strs_free(struct opt_strs *s);
void opt_ints_free(struct opt_ints *s);

/*
 * Text that may have come from anywhere, without characters that command a terminal; to be freed,
 * NULL: no memory. What the functions below say has none.
 */
char *tool_harmless(const char *text);
/* "sherd: <sentence>" on stderr, from any thread. */
void tool_line(const char *sentence);
/* "sherd run: <sentence>" on stderr; returns TOOL_FAILED. The only way a tool reports failure. */
int tool_fail(const struct tool *t, const struct sherd_error *err);
int tool_failf(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong command line, with a hint at --help; returns TOOL_USAGE. */
int tool_usage(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An option that would do nothing beside others. */
struct tool_idle {
	bool given;
	const char *name;
};
/* The first of @n that is given is a wrong command line, said as @fmt has it; else TOOL_OK. */
int tool_refuse_idle(const struct tool *t, const struct tool_idle *list, size_t n, const char *fmt);

/* *@out: which of the @n names @value is; else the sentence of a wrong command line, TOOL_USAGE. */
int tool_pick(const struct tool *t, const char *opt, const char *value, const char *const *names,
	      int n, int *out);

/*
 * A progress bar on stderr, with the time left; only where stderr is a terminal. tool_progress() fits
 * sherd_progress_fn, tool_note() fits sherd_note_fn (it clears the bar's line first).
 */
void tool_progress(void *ctx, const char *what, uint64_t done, uint64_t total);
void tool_progress_end(void);
void tool_note(void *ctx, const char *sentence);

/* An encoder gives no text and no logits: its sentence, TOOL_FAILED, which names sherd embed. */
int tool_refuse_encoder(const struct tool *t, const struct sherd_model_info *info);
/* TOOL_OK: the model has one. Else a sentence that says which files would be it. */
int tool_want_tokenizer(const struct tool *t, const struct sherd_model *model);

/* 0, or -EILSEQ and the place where @text stops being UTF-8; @name: where it came from. */
int tool_check_text(const char *name, const char *text, size_t len, struct sherd_error *err);
/* Reads a text file, or stdin for "-"; malloc'd and NUL-terminated; refused if it is no UTF-8. */
int tool_read_text(const char *path, char **text, size_t *len, struct sherd_error *err);

/* "1.10 GiB", "512.0 KiB" into a static ring of buffers. */
const char *tool_bytes(uint64_t bytes);

/* Flushes stdout; false (and a sentence) if something was lost, so that `> /dev/full` fails. */
bool tool_flush(const struct tool *t);

/* A path for a result in JSON: null where its bytes are no UTF-8, which JSON cannot say. */
struct json_t *tool_json_path(const char *path);

/* --wire's value; NULL: int8. TOOL_OK, or a wrong command line's TOOL_USAGE. */
int tool_pick_wire(const struct tool *t, const char *value, enum sherd_wire *wire);
const char *tool_wire_name(enum sherd_wire wire);

/* Shared by run and bench. */
#define TOOL_TRACE_OPT(path)                                                                       \
	{ 0, "trace", OPT_STR, &(path), 0, 0, "FILE",                                              \
	  "write what is done when, and every kernel, to FILE, for ui.perfetto.dev" }

/* The options that cut a session, shared by run and eval. */
#define TOOL_CUT_OPTS(cuts, wire)                                                                  \
	{ 0, "cuts", OPT_INTS, &(cuts), 1, 65535, "L,...",                                         \
	  "before these layers, put the activations through the wire format: gives the bits that " \
	  "a pipeline cut there gives" },                                                          \
	{ 0, "wire", OPT_STR, &(wire), 0, 0, "TYPE", "the wire format: int8 (default), f16, f32" }

/* The options that open a model, shared by run, bench, eval: a row to paste into a tool's table. */
#define TOOL_MODEL_OPTS(model, params)                                                              \
	{ 'm', "model", OPT_STR, &(model), 0, 0, "MODEL",                                          \
	  "GGUF file, packed shard, Ollama model name, or Hugging Face folder or name" },           \
	{ 'c', "ctx-size", OPT_INT, &(params).n_ctx, 0, 1 << 24, "N",                              \
	  "context in tokens (default: what the model was trained for, at most 4096)" },             \
	{ 't', "threads", OPT_INT, &(params).n_threads, 1, 1024, "N",                              \
	  "threads of a CPU device (default: the CPUs that the process may use)" },                \
	{ 0, "device", OPT_STR, &(params).device, 0, 0, "NAME",                                    \
	  "auto, cpu, gpu, reference (plain C), a number or part of a device's name" },            \
	{ 0, "tune", OPT_STR, &(params).tune, 0, 0, "FILE",                                        \
	  "what sherd tune has measured of the device, or none (default: what sherd finds for it)" }, \
	{ 0, "bits", OPT_INT, &(params).bits, 4, 8, "4|8",                                         \
	  "requantize F32/F16/BF16 weights; 4 also shrinks IQ4_NL, IQ4_XS, MXFP4, Q2_K, Q3_K, "      \
	  "Q4_K, at a loss that is printed (other quantized weights stay as they are)" },            \
	{ 0, "region", OPT_STR, &(params).region, 0, 0, "NAME",                                    \
	  "what holds the weights in memory: auto (the first that works), sherd (the kernel "        \
	  "module), udmabuf, locked (mlock) or plain; sherd doctor explains" },                      \
	{ 0, "no-cache", OPT_FLAG, &(params).no_cache, 0, 0, NULL,                                 \
	  "neither read nor write the cache of packed shards" }

#endif
