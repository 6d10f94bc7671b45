/* SPDX-License-Identifier: MIT */
/*
 * rig: a loop with both ends of its links in one thread, raw sockets for whatever no loop would
 * send, and a case for each rung: "what holds, on epoll". A rung that can't be had skips its cases
 * and says why.
 */
#ifndef TEST_RIG_H
#define TEST_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "net/loop.h"

#define MAX_ENDS 256
#define RIG_CHILD_FAILED 99 /* exit code of a forked child in which an assertion failed */

struct rig;

/* One end of a link, and what happens there. */
struct end {
	struct rig *r;
	struct sherd_link *link; /* NULL after down() */
	int up, frames, down;
	uint64_t zero_copies, copies; /* when it went down */
	struct sherd_error why;
	/* What to do when; NULL: nothing. */
	void (*on_up)(struct end *e);
	int (*on_expect)(struct end *e, const struct sherd_frame *f, struct sherd_error *err);
	void (*on_frame)(struct end *e, const struct sherd_frame *f, const uint8_t *payload);
	void (*on_down)(struct end *e);
	void *data;
};

struct rig {
	const char *io;
	struct sherd_loop_params params; /* set before rig_start() */
	struct sherd_loop *loop;
	struct sherd_net *net;
	char at[64]; /* where it listens */
	struct end a; /* the dialling end, if there is one */
	struct end like; /* what accepted ends do */
	void (*on_accepted)(struct end *e);
	struct end ends[MAX_ENDS]; /* accepted ones */
	int n_ends;
	int n_done; /* calls of done() by rig_payload()s */
	int fds;
	struct sherd_timer tick;
	bool (*until)(struct rig *r);
	uint64_t limit;
	bool late;
	struct sherd_error err;
};

/* Creates the loop, listens, and dials nobody. */
void rig_start(struct rig *r);
/* Frees the loop; all descriptors are closed, every link has gone down once. */
void rig_end(struct rig *r);
void rig_dial(struct rig *r, struct end *e, const char *address);
/* Runs until @until says so; fails after 30 s. */
void rig_run(struct rig *r, bool (*until)(struct rig *r));
/* For so long. */
void rig_run_ms(struct rig *r, unsigned ms);
/* What to run until: of @r->a, and the first that was accepted. */
bool rig_a_is_down(struct rig *r);
bool rig_first_is_down(struct rig *r);
bool rig_both_up(struct rig *r);
bool rig_both_down(struct rig *r);
/* One that was reset before it was accepted has never been there for the other end. */
bool rig_none_is_left(struct rig *r);
/* Frames that came at accepted ends. */
int rig_frames(const struct rig *r);
/* A frame with @size bytes that follow from @seed, copied. */
void rig_send(struct end *e, uint32_t size, uint32_t seed);
/* The same in memory that done() frees. */
void rig_send_kept(struct end *e, uint32_t size, uint32_t seed);
/* Whether they are those bytes. */
void rig_fill(uint8_t *to, uint32_t size, uint32_t seed);
bool rig_is(const uint8_t *p, uint32_t size, uint32_t seed);
/* An on_frame(): they are what was sent. */
void rig_check(struct end *e, const struct sherd_frame *f, const uint8_t *payload);
/* A connected socket of nobody's; -1 and errno. */
int rig_connect(const struct rig *r);
/* All of it, in time; false: the other side has ended. */
bool rig_write(int fd, const void *data, size_t n);
/* What ends a stream: 0, or -errno; drops what comes before. */
int rig_read_end(int fd);
/* Bytes of frame number @sequence, with padding, at @out; their number. */
size_t rig_frame(uint8_t *out, uint64_t sequence, uint32_t size, uint32_t seed);
int rig_fds(void);

#define ASSERT_SAYS(err, word)                                                                \
	do {                                                                                  \
		if (!strstr((err).msg, word))                                                 \
			fail_msg("\"%s\" does not say \"%s\"", (err).msg, word);              \
	} while (0)

struct rig_case {
	const char *name;
	void (*run)(struct rig *r);
};
#define CASE(function) { #function, function }

/*
 * Every case on every rung; the result of cmocka's run. argv[1]: only those, as "*frame*_on_epoll".
 */
int rig_run_cases(int argc, char **argv, const struct rig_case *cases, int n);

#endif
