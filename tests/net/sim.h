/* SPDX-License-Identifier: MIT */
/*
 * sim: a network in memory, with hosts, a clock of its own, and every kind of bad luck, all of it
 * drawn from a seed. It implements net/net.h, so that the protocol runs on it as it is. Links
 * behave as TCP's do: bytes come in order, cut anywhere, late, or never; besides, frames may be
 * lost, doubled, swapped and damaged, which TCP does not do, but what lies on the way may.
 */
#ifndef SIM_H
#define SIM_H

#include "net/net.h"
#include "net/reader.h"

#define SIM_HOSTS 16
#define SECOND	  1000000ull

struct sim;
struct sim_link;

struct sim_host {
	struct sherd_net net; /* what the protocol is given */
	struct sim *sim;
	int number; /* its address is "host:NUMBER" */
	bool alive; /* a process listens there */
	int life; /* how many have died there */
	uint64_t paused_until; /* SIGSTOP: nothing happens there */
	struct sherd_timer *timers;
};

/* Chances are per frame, in millionths. */
struct sim_faults {
	uint32_t drop, twice, swap, damage, reset;
	uint32_t latency_us, jitter_us; /* one way */
	uint32_t bytes_per_ms; /* 0: as fast as you like */
	bool chop; /* reads are cut at random */
};

struct sim {
	uint64_t now; /* us */
	uint64_t seed;
	struct sim_host hosts[SIM_HOSTS];
	/* [from][to]: nothing gets through; what was sent waits */
	bool blocked[SIM_HOSTS][SIM_HOSTS];
	struct sim_faults faults;
	struct sim_event **heap;
	size_t n_events, room;
	uint64_t n_made;
	struct sim_link *links;
	int n_links; /* that exist: 0 at the end */
	uint64_t n_frames, n_from_slots;
};

void sim_init(struct sim *s, uint64_t seed);
/* What is under way goes; links whose users have not been told they are down are left, and leak. */
void sim_destroy(struct sim *s);
uint64_t sim_random(struct sim *s, uint64_t below);

struct sherd_net *sim_start(struct sim *s, int host);
/*
 * The process dies: nothing that it has queued goes out, and the others are told at once, or if
 * they are cut off from it, late. @clean frees what ran there, and is heard by nobody.
 */
void sim_kill(struct sim *s, int host, void (*clean)(void *), void *arg);
void sim_pause(struct sim *s, int host, uint64_t us);
/*
 * One way; without acknowledgements nothing gets through the other way either, but new connections
 * may differ.
 */
void sim_block(struct sim *s, int from, int to, bool blocked);
void sim_block_both(struct sim *s, int a, int b, bool blocked);

/* @fn at a time, on a host (-1: outside): later if it is paused, never if it has died by then. */
void sim_at(struct sim *s, uint64_t when, int host, void (*fn)(void *), void *arg);
/* One event; false: there is none before @until, to which the clock goes. */
bool sim_step(struct sim *s, uint64_t until);
/* All that happens in the next @us. */
void sim_go(struct sim *s, uint64_t us);
/* Until @done says so; false: not by then. */
bool sim_run(struct sim *s, uint64_t until, bool (*done)(void *), void *arg);

/* What chance begins with: SHERD_SEED, or the clock; says which. */
uint64_t sim_seed(void);

#endif
