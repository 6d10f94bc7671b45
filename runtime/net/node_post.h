/* SPDX-License-Identifier: MIT */
/*
 * node_post: what the files of a node share. A *run* is one head's pipeline; a *post* is a stage of
 * a run that this node serves; a *worker* is what computes, shared by all posts with the same
 * layers; a *flow* is one session at a post: rows come in, wait, are computed, and lie in a journal
 * for the next stage.
 */
#ifndef SHERD_NODE_POST_H
#define SHERD_NODE_POST_H

#include "net/journal.h"
#include "net/message.h"
#include "net/node.h"

#define STEP_HISTORY 64
#define STEP_BUCKETS 13 /* steps of up to 1, 2, 4 ... 4096 rows */

struct post;
struct worker;

/* From PEER_STATUS on: guests, who have no part in a run. */
enum peer_kind { PEER_STRANGER, PEER_CONTROL, PEER_UP, PEER_DOWN, PEER_STATUS, PEER_PUSH,
		 PEER_MEASURE, PEER_PROBE };

/* A link, and what it is for. */
struct peer {
	struct peer *next;
	struct sherd_node *node;
	struct sherd_link *link;
	enum peer_kind kind;
	bool greeted;
	uint64_t heard; /* when something came last */
	struct run *run; /* CONTROL */
	struct post *post; /* UP, DOWN */
	/* DOWN: when the PING went out that is not answered yet, or 0; how long they take, or 0 */
	uint64_t pinged, rtt_us;
	struct push *push; /* PUSH */
	/* MEASURE: */
	bool asked; /* something that is not answered yet */
	uint32_t ask_id;
	struct probe *probe; /* NULL: no link is being measured */
	uint64_t probed; /* PROBE: bytes that have come */
};

/* Rows that have come and wait. */
struct chunk {
	struct chunk *next;
	uint32_t position;
	int n;
	bool want;
	int32_t *ids; /* [n] */
	uint8_t *rows; /* [n][row_bytes], aligned; NULL at the first stage */
};

enum flow_state { FLOW_OPENING, FLOW_OPEN, FLOW_FAILED };

struct flow {
	struct flow *next; /* post->flows */
	struct flow *worker_next; /* worker->flows */
	struct worker *worker;
	struct post *post; /* NULL: it ends */
	struct sherd_stage_session session; /* its id is the head's */
	struct sherd_stage_session for_stage; /* the same with a number that no other run has */
	enum flow_state state;
	char why[SHERD_SENTENCE_MAX]; /* FAILED */
	bool announced; /* by the stage before, over the present link */
	bool told; /* the next stage, over the present link */
	bool closing; /* ends as soon as the stage has let go of it: it knows, if not opening */
	bool opening;
	uint32_t in_step; /* rows that are being computed */
	struct sherd_journal out; /* at the last stage: ids alone, never sent */
	struct chunk *first, *last; /* [computed, received) but for what is in a step */
	uint32_t received; /* positions */
	size_t row_bytes; /* that come in; 0: ids alone */
	/* the last stage: the one drawn last, and where it stands; position 0: none */
	int32_t token;
	uint32_t token_position;
	struct sherd_job job; /* OPEN, CLOSE */
};

struct worker {
	struct worker *next;
	struct sherd_node *node;
	struct sherd_stage *stage;
	struct sherd_stage_spec spec;
	int refs; /* posts, and jobs that are under way */
	enum { WORKER_NEW, WORKER_LOADING, WORKER_READY, WORKER_BROKEN } state;
	struct sherd_error err; /* BROKEN */
	struct flow *flows;
	struct flow *turn; /* where the next step begins to look */
	struct sherd_job load, step;
	struct sherd_job_item *items; /* [n_batch] */
	struct flow **item_flows; /* [n_batch] */
	struct chunk **item_chunks; /* [n_batch] */
	int step_rows; /* of the step that is under way; 0: none is */
	uint64_t step_began, step_due;
	uint32_t looks; /* at a step that is overdue, one a second; 0: none is */
	uint64_t steps, rows, work_us;
	/* microseconds that steps took, by their size; the oldest is overwritten */
	uint32_t took[STEP_BUCKETS][STEP_HISTORY];
	uint32_t n_took[STEP_BUCKETS];
	struct sherd_timer overdue;
};

struct post {
	struct post *next;
	struct run *run;
	struct worker *worker;
	uint32_t number; /* in the plan, from 1 */
	uint32_t load_id; /* the LOAD that waits for its reply */
	bool load_waits;
	uint32_t epoch; /* 0: in reserve, or dropped */
	bool exact; /* neighbours must have the same bit profile */
	char previous[SHERD_NAME_MAX], next_name[SHERD_NAME_MAX];
	char next_address[SHERD_ADDRESS_MAX];
	struct peer *up, *down;
	struct sherd_hop hop;
	struct sherd_timer redial; /* when the next stage's link is down; when it is up, the beat */
	uint64_t redial_us;
	uint64_t beat_due; /* when the next beat was to be */
	uint64_t down_since; /* the link to the next stage; 0: it is up, or there is none */
	bool complained; /* the head knows why the next stage refuses */
	bool unfit; /* it has been said that chunks do not fit into slots */
	bool all_here; /* in this epoch the stage before has named all sessions */
	struct flow *flows;
};

struct run {
	struct run *next;
	struct sherd_node *node;
	char id[SHERD_RUN_ID];
	struct peer *control;
	struct post *posts;
	struct sherd_timer lease;
	uint64_t lease_us;
	uint64_t began;
};

/* Of a node's measuring itself, which one at a time may ask for. */
struct profiling {
	struct sherd_profiler_job job;
	bool under_way;
	struct peer *peer; /* who asked; NULL: gone */
	char *ask;
	uint64_t since;
};

struct sherd_node {
	struct sherd_node_params p;
	struct sherd_net *net;
	struct peer *peers;
	struct run *runs;
	struct worker *workers;
	struct profiling profiling;
	uint64_t refusal_noted; /* when; 0: never */
	uint64_t last_session;
};

/* node.c */
struct run *sherd_node_run(struct sherd_node *n, const char *id);
/* The worker's LOAD is done: tells who waits. */
void sherd_node_loaded(struct worker *w);
struct peer *sherd_node_peer(struct sherd_node *n, struct sherd_link *l, enum peer_kind kind);
/* One whose link is gone, or never was. */
void sherd_node_forget(struct peer *p);
/* Forgets the peer's role and hangs up. */
void sherd_node_dismiss(struct peer *p, const char *why);
void sherd_node_pong(struct run *r);
extern const struct sherd_link_user sherd_node_links;

/* Whose certificate may command. */
const char *sherd_node_head(const struct sherd_node *n);
/* Says why, and hangs up. */
void sherd_node_refuse(struct peer *p, const char *why);

/* node_push.c */
void sherd_node_push_greet(struct peer *p);
int sherd_node_push_expect(struct peer *p, const struct sherd_frame *f, struct sherd_error *err);
void sherd_node_push_frame(struct peer *p, const struct sherd_frame *f, const uint8_t *payload);
/* The link is gone, or going. */
void sherd_node_push_down(struct peer *p);

/* node_probe.c */
void sherd_node_measure_greet(struct peer *p);
void sherd_node_probe_greet(struct peer *p);
int sherd_node_probe_expect(const struct peer *p, const struct sherd_frame *f,
			    struct sherd_error *err);
void sherd_node_probe_frame(struct peer *p, const struct sherd_frame *f, const uint8_t *payload);
/* PROFILE or PROBE_LINK, of which c->with is not dropped. */
void sherd_node_measure(struct peer *p, const struct sherd_command *c);
/* The link of one who has asked is gone, or going. */
void sherd_node_measure_down(struct peer *p);
/* A run begins: it comes first. */
void sherd_node_measure_yield(struct sherd_node *n);

/* node_post.c */
struct post *sherd_post_find(struct run *r, uint32_t number);
bool sherd_post_is_last(const struct post *p);
/* A dialled link is up: who we are. */
void sherd_post_hello(struct peer *p);
void sherd_post_route(struct post *p, const struct sherd_command *c);
void sherd_post_drop(struct post *p);
void sherd_post_free(struct post *p);
/* The stage before has dialled: takes the link, or says why not. */
void sherd_post_greet(struct sherd_node *n, struct peer *p, const struct sherd_hello *h);
int sherd_post_expect(struct peer *p, const struct sherd_frame *f, struct sherd_error *err);
void sherd_post_frame(struct peer *p, const struct sherd_frame *f, const uint8_t *payload);
void sherd_post_down(struct peer *p, const struct sherd_error *why);
/* Tells the next stage of a session, once a link. */
void sherd_post_announce(struct flow *f);
/* The last stage tells the head the token drawn last. */
void sherd_post_tell(struct flow *f);
/* What may have been lost: the token drawn last, or why the session cannot go on. */
void sherd_post_repeat(struct flow *f);

/* node_flow.c */
/* A session begins, or the stage before says over a new link that it is still there. */
int sherd_flow_open(struct post *p, const struct sherd_frame *frame, const uint8_t *payload,
		    struct sherd_error *err);
struct flow *sherd_flow_find(struct post *p, uint64_t id);
/* Rows have come, as sherd_post_expect() saw them fit. */
int sherd_flow_rows(struct flow *f, const struct sherd_frame *frame, const uint8_t *payload,
		    struct sherd_error *err);
/* A new link to the stage before: what waits will be sent again. */
void sherd_flow_rewind(struct flow *f);
/* It cannot go on here: the head is told, and nothing is kept of it but why. */
void sherd_flow_fail(struct flow *f, const char *sentence);
/* Ends it here and at the stages behind. */
void sherd_flow_close(struct flow *f);
/* Ends it here, when the stage has done what it is doing. */
void sherd_flow_orphan(struct flow *f);
/* The rows that wait longest, for a step. */
struct chunk *sherd_flow_take(struct flow *f);
/* They have been computed, or could not be. */
void sherd_flow_done(struct flow *f, struct chunk *c, const struct sherd_job_item *item);
/* At once, the stage being gone. */
void sherd_flow_free(struct flow *f);
void sherd_chunk_free(struct chunk *c);

/* node_work.c */
bool sherd_spec_equal(const struct sherd_stage_spec *a, const struct sherd_stage_spec *b);
int sherd_worker_get(struct sherd_node *n, const struct sherd_stage_spec *spec, struct worker **w,
		     struct sherd_error *err);
void sherd_worker_put(struct worker *w);
/* With all flows, whatever the stage is doing. */
void sherd_worker_destroy(struct worker *w);
/* A flow holds its worker. */
void sherd_worker_add(struct worker *w, struct flow *f);
void sherd_worker_remove(struct flow *f);
/* Starts a step if none is under way and rows wait. */
void sherd_worker_kick(struct worker *w);
void sherd_worker_progress(const struct worker *w, struct sherd_progress *p);
/* The present step takes longer than it should: its device may hang. */
bool sherd_worker_overdue(const struct worker *w);

#endif
