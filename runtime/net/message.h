/* SPDX-License-Identifier: MIT */
/*
 * message: the rare frames' payloads, which are JSON: greetings, commands, replies, a session's
 * parameters. What is read is checked in full: unknown keys are refused (a release that means more
 * by its words has another version number), numbers have ranges, names lengths.
 */
#ifndef SHERD_MESSAGE_H
#define SHERD_MESSAGE_H

#include "net/net.h"
#include "net/stage.h"
#include "net/store.h"

struct json_t;

#define SHERD_NAME_MAX	  64 /* of a node; with the final zero */
#define SHERD_RUN_ID	  33 /* 32 hex digits and a zero */
#define SHERD_MESSAGE_MAX (64u << 10) /* bytes of JSON in a frame, after the greeting */
#define SHERD_HELLO_MAX	  1024u /* in the greeting, when the other side is anybody */
/* in an OPEN, which names some of a model's layers */
#define SHERD_OPEN_MAX(n_layers) MIN(1024u + 8u * (n_layers), SHERD_MESSAGE_MAX)
/* at a stage that was loaded for @n: also failed ones, until they are closed */
#define SHERD_MAX_SESSIONS(n) (4 * (n) + 64)
#define SHERD_SENTENCE_MAX (sizeof(((struct sherd_error *)NULL)->msg))

/* Who dials, and what for. */
enum sherd_role {
	SHERD_ROLE_HEAD, /* commands a run's stages */
	SHERD_ROLE_DATA, /* the stage before, with its rows */
	SHERD_ROLE_STATUS, /* asks how things are */
	SHERD_ROLE_PUSH, /* brings shards */
	SHERD_ROLE_MEASURE, /* the head: asks what the node and its links can do */
	SHERD_ROLE_PROBE, /* measures the link itself */
};

struct sherd_hello {
	enum sherd_role role;
	char run[SHERD_RUN_ID]; /* HEAD, DATA */
	/* HEAD: so long the run outlives its head; 0: as long as the node likes */
	uint32_t lease_ms;
	/* DATA: */
	uint32_t epoch, stage; /* the stage that is dialled */
	char model[SHERD_SHA256_HEX];
	/* of the dialling side; "": the head, which computes nothing */
	char bit_profile[SHERD_SHA256_HEX];
	int layer; /* the first one that is to see the rows */
};

int sherd_hello_read(struct sherd_hello *h, const uint8_t *payload, size_t size,
		     struct sherd_error *err);

enum sherd_command_kind {
	SHERD_COMMAND_LOAD, /* have this stage ready, to serve or in reserve */
	SHERD_COMMAND_ROUTE, /* a new epoch: your next is there, who was before you is nobody now */
	SHERD_COMMAND_DROP, /* this stage is served by another one */
	SHERD_COMMAND_END, /* the run is over: all its stages go */
	SHERD_COMMAND_STATUS,
	SHERD_COMMAND_OFFER, /* a file */
	SHERD_COMMAND_PROFILE, /* measure yourself; how is the profiler's to know */
	SHERD_COMMAND_PROBE_LINK, /* measure the link to that node */
};

struct sherd_command {
	enum sherd_command_kind kind;
	uint32_t id; /* the reply's, too */
	uint32_t stage;
	struct sherd_stage_spec spec; /* LOAD */
	/* ROUTE */
	uint32_t epoch, chunk, window;
	bool exact; /* the stage before must have the same bit profile */
	char previous[SHERD_NAME_MAX]; /* node that will dial; "": the head */
	char next[SHERD_NAME_MAX]; /* "": this is the last stage */
	char next_address[SHERD_ADDRESS_MAX];
	struct sherd_offer offer; /* OFFER */
	struct json_t *with; /* PROFILE, PROBE_LINK: a reference that the reader has to drop */
};

int sherd_command_read(struct sherd_command *c, const uint8_t *payload, size_t size,
		       struct sherd_error *err);

struct sherd_reply {
	uint32_t id;
	char error[512]; /* "": done */
	/* LOAD */
	char bit_profile[SHERD_SHA256_HEX];
	uint32_t room, n_batch;
	int hidden, n_layers;
	uint32_t epoch; /* that the stage is in: of a head that has come back */
	/* OFFER */
	uint64_t have; /* bytes */
	bool whole;
};

int sherd_reply_read(struct sherd_reply *r, const uint8_t *payload, size_t size,
		     struct sherd_error *err);

/* An OPEN frame's: @s->params.cuts is malloc'd, sherd_stage_session_free() frees it. */
int sherd_open_read(struct sherd_stage_session *s, uint64_t id, const uint8_t *payload, size_t size,
		    int n_layers, struct sherd_error *err);
void sherd_stage_session_free(struct sherd_stage_session *s);

/* Send; nothing to free afterwards. Lack of memory hangs up. */
void sherd_hello_send(struct sherd_link *l, const struct sherd_hello *h);
void sherd_command_send(struct sherd_link *l, const struct sherd_command *c);
void sherd_offer_send(struct sherd_link *l, uint32_t id, const struct sherd_offer *o);
void sherd_reply_send(struct sherd_link *l, const struct sherd_reply *r);
/* WELCOME: who is there. */
void sherd_welcome_send(struct sherd_link *l, const char *name);
/* A sentence: REFUSE, FAILED. */
void sherd_sentence_send(struct sherd_link *l, const struct sherd_frame *f, const char *sentence);
/*
 * One that came, so that it can be shown: whole characters of UTF-8, none that commands a terminal;
 * "?" for what else there is. @room bytes at most, with the final zero.
 */
void sherd_sentence_read(char *to, size_t room, const void *from, size_t size);
/* The payload of OPEN, to be freed; NULL: no memory. */
char *sherd_open_text(const struct sherd_stage_session *s);

/* @json in a frame of that type; takes the reference. */
void sherd_message_send(struct sherd_link *l, enum sherd_frame_type type, struct json_t *json);
/* How a stage is getting on: PONG's payload is these, 8 bytes each, little-endian. */
struct sherd_progress {
	uint64_t stage;
	uint64_t steps, rows; /* done since the stage was loaded */
	uint64_t busy_us; /* so long the present step has been running; 0: idle */
	uint64_t due_us; /* it is overdue then, by what earlier steps took; 0: idle */
	uint64_t sessions, queued; /* open ones; rows that wait */
	uint64_t step_us; /* median of the last ones of a single row */
	uint64_t work_us; /* computing, since the stage was loaded */
	/* so long the next stage has not been reached; 0: it is, or there is none */
	uint64_t cut_off_us;
};
#define SHERD_PROGRESS_BYTES 80u
#define SHERD_MAX_POSTS	     16u /* stages of one run on one node */

void sherd_progress_write(const struct sherd_progress *p, uint8_t out[SHERD_PROGRESS_BYTES]);
void sherd_progress_read(struct sherd_progress *p, const uint8_t in[SHERD_PROGRESS_BYTES]);

#endif
