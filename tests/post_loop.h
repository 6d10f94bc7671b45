/* SPDX-License-Identifier: MIT */
/*
 * post_loop: as much of the network's loop as a stage sees: it is posted to, from any thread, and
 * one thread runs what was posted.
 */
#ifndef SHERD_TEST_POST_LOOP_H
#define SHERD_TEST_POST_LOOP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include "net/stage.h"

#define MAX_POSTS 256

static struct loop {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct {
		void (*fn)(void *);
		void *arg;
	} posts[MAX_POSTS];
	int n;
} loop = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

/* A full loop does not take it, as one without memory. */
static inline int loop_post(void *l, void (*fn)(void *), void *arg)
{
	int rc = -ENOMEM;

	assert_ptr_equal(l, &loop);
	pthread_mutex_lock(&loop.lock);
	if (loop.n < MAX_POSTS) {
		loop.posts[loop.n].fn = fn;
		loop.posts[loop.n++].arg = arg;
		rc = 0;
	}
	pthread_mutex_unlock(&loop.lock);
	pthread_cond_signal(&loop.more);
	return rc;
}

/* Runs the oldest post; @wait: there will be one. False: there is none. */
static inline bool loop_run(bool wait)
{
	void (*fn)(void *) = NULL;
	void *arg = NULL;

	pthread_mutex_lock(&loop.lock);
	while (wait && !loop.n)
		pthread_cond_wait(&loop.more, &loop.lock);
	if (loop.n) {
		fn = loop.posts[0].fn;
		arg = loop.posts[0].arg;
		memmove(loop.posts, loop.posts + 1, (size_t)--loop.n * sizeof(loop.posts[0]));
	}
	pthread_mutex_unlock(&loop.lock);
	if (fn)
		fn(arg);
	return fn;
}

/* A job's done(): counts them in *@ctx. */
static inline void loop_count(void *ctx, struct sherd_job *job)
{
	assert_non_null(job);
	++*(int *)ctx;
}

/* Submits the job and waits for it. */
static inline int stage_do(struct sherd_stage *s, struct sherd_job *job)
{
	int done = 0;

	job->done = loop_count;
	job->ctx = &done;
	s->ops->submit(s, job);
	while (!done)
		loop_run(true);
	assert_int_equal(done, 1);
	assert_true(job->ended_us >= job->started_us);
	return job->rc;
}

#endif
