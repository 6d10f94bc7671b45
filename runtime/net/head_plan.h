/* SPDX-License-Identifier: MIT */
/*
 * head_plan: what the files of a head share.
 */
#ifndef SHERD_HEAD_PLAN_H
#define SHERD_HEAD_PLAN_H

#include "net/head.h"
#include "net/journal.h"

enum load_state {
	LOAD_NONE, /* not asked for, or not since the node came back */
	LOAD_ASKED,
	LOAD_READY,
	LOAD_REFUSED, /* with a sentence */
};

/* A stage at a node that may serve it. */
struct seat {
	enum load_state load;
	uint32_t load_id, route_id;
	bool taken; /* the node has been told to serve it, and not to drop it since */
	uint64_t cut_off_at; /* the stage before could not reach it then; 0: it could */
	char bit_profile[SHERD_SHA256_HEX];
	struct sherd_reply reply;
	struct sherd_progress progress;
	uint64_t progress_at; /* when it came */
};

struct head_node {
	struct sherd_head *head;
	const struct sherd_head_node *plan;
	struct sherd_link *link; /* dialled, greeted or not; NULL: neither */
	bool up; /* greeted */
	uint64_t heard; /* when it said something last */
	uint64_t gone; /* when it was lost; 0: not lost, or it has again what it serves */
	int failed_dials; /* in a row */
	bool said; /* that it is waited for */
	bool refuses; /* for good, when it was dialled last */
	struct sherd_error why; /* it is not there */
	struct sherd_timer redial;
	uint64_t redial_us;
	struct seat *seats; /* [n_stages] */
};

struct head_stage {
	const struct sherd_head_stage *plan;
	struct head_node *node; /* that serves it; NULL: none yet */
	bool routed; /* in this epoch the node knows */
	char bit_profile[SHERD_SHA256_HEX]; /* of who served it first */
};

struct head_session {
	struct head_session *next;
	struct sherd_journal out; /* token ids */
	bool waiting; /* for the token after the last row */
	uint32_t drawn_at; /* the position of the last token that came; 0: none has */
	int32_t drawn;
};

struct sherd_head {
	struct sherd_head_params p;
	struct sherd_net *net;
	struct head_node *nodes; /* [n_nodes] */
	struct head_stage *stages; /* [n_stages] */
	struct head_session *sessions;
	uint64_t last_session;
	uint32_t epoch, last_command;
	uint32_t known_epoch; /* the latest that a node has said it knows: the next one is beyond */
	bool was_ready, routing, dead;
	int recoveries;
	uint64_t progress_at; /* the last time that something moved */
	uint64_t awake; /* when it looked last */
	struct sherd_timer tick, redial; /* redial: the first stage's data link */
	/* to the first stage */
	struct sherd_link *data;
	uint64_t data_heard;
	struct sherd_hop hop; /* its link: data once greeted */
};

/* head.c */
void sherd_head_fail(struct sherd_head *h, const char *why);
void sherd_head_note(struct sherd_head *h, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Looks at how things are, and does what is to be done. */
void sherd_head_think(struct sherd_head *h);

/* head_node.c */
int sherd_head_nodes_init(struct sherd_head *h, struct sherd_error *err);
void sherd_head_nodes_free(struct sherd_head *h);
void sherd_head_load(struct head_node *n, int stage);
void sherd_head_route(struct sherd_head *h, int stage);
void sherd_head_drop(struct head_node *n, int stage);
void sherd_head_ping(struct head_node *n);
static inline struct seat *seat_of(const struct sherd_head *h, int stage)
{
	return h->stages[stage].node ? &h->stages[stage].node->seats[stage] : NULL;
}

/* head_session.c */
void sherd_head_data_dial(struct sherd_head *h);
/* Says something, or gives up a link that is silent. */
void sherd_head_data_beat(struct sherd_head *h);
void sherd_head_data_drop(struct sherd_head *h, const char *why);
void sherd_head_token(struct sherd_head *h, const struct sherd_frame *f, const uint8_t *payload);
void sherd_head_session_failed(struct sherd_head *h, uint64_t id, const char *node,
			       const char *why);
void sherd_head_sessions_free(struct sherd_head *h);
bool sherd_head_waiting(const struct sherd_head *h);

#endif
