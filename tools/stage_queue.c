/* SPDX-License-Identifier: MIT */
/*
 * stage_queue: a queue, a thread that empties it, and the way back to the loop.
 *
 * A thread without work sleeps at once: should the loop's thread be on the same core, looking for
 * work would keep it from sending what has just been computed. Finished jobs go to a mailbox which
 * the loop empties. The mailbox outlives the queue as long as a post is on its way to
 * the loop: then nothing of the queue, nor of its jobs, is touched any more.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "stage_queue.h"

#define IDLE_NS 2000000

struct jobs {
	struct sherd_job *first, *last;
};

struct mailbox {
	pthread_mutex_t lock;
	struct jobs done;
	int refs; /* the queue's, and one of each post */
	bool closed; /* nobody wants to know any more; the loop's */
};

struct stage_queue {
	struct stage_queue_params p;
	struct mailbox *mail;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct jobs jobs;
	bool stop;
	int n_steps; /* counted where it hangs after some */
};

static void add(struct jobs *l, struct sherd_job *job)
{
	job->next = NULL;
	if (l->first)
		l->last->next = job;
	else
		l->first = job;
	l->last = job;
}

static struct sherd_job *take(struct jobs *l)
{
	struct sherd_job *job = l->first;

	if (job)
		l->first = job->next;
	return job;
}

/* ----------------------------------------------------------------- mailbox */

static struct mailbox *mailbox_new(void)
{
	struct mailbox *m = sherd_calloc(1, sizeof(*m));

	if (m) {
		pthread_mutex_init(&m->lock, NULL);
		m->refs = 1;
	}
	return m;
}

static void mailbox_put(struct mailbox *m)
{
	int left;

	pthread_mutex_lock(&m->lock);
	left = --m->refs;
	pthread_mutex_unlock(&m->lock);
	if (left)
		return;
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* On the loop's thread. done() may submit more, or put the stage. */
static void empty_mailbox(void *arg)
{
	struct mailbox *m = arg;
	struct sherd_job *job;

	while (!m->closed) {
		pthread_mutex_lock(&m->lock);
		job = take(&m->done);
		pthread_mutex_unlock(&m->lock);
		if (!job)
			break;
		job->done(job->ctx, job);
	}
	mailbox_put(m);
}

/*
 * The next stage waits for a step. What comes of other jobs may end the stage, which waits for this
 * thread: it is not for this thread to tell of those.
 */
static void deliver(struct stage_queue *q, struct sherd_job *job)
{
	struct mailbox *m = q->mail;
	stage_post_fn post = q->p.post;

	pthread_mutex_lock(&m->lock);
	if (job->kind == SHERD_JOB_STEP && !m->done.first && q->p.visit)
		post = q->p.visit;
	add(&m->done, job);
	m->refs++;
	pthread_mutex_unlock(&m->lock);
	while (post(q->p.loop, empty_mailbox, m)) /* no memory: a done job must be told of */
		usleep(1000);
}

/* ------------------------------------------------------------------ thread */

/* True: there was nothing to do for so long. With the lock. */
static bool is_idle(struct stage_queue *q)
{
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += IDLE_NS;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	while (!q->jobs.first && !q->stop && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&q->more, &q->lock, &end);
	return rc == ETIMEDOUT;
}

/* NULL: it is over. */
static struct sherd_job *next_job(struct stage_queue *q)
{
	struct sherd_job *job;

	pthread_mutex_lock(&q->lock);
	if (q->p.idle && is_idle(q)) {
		pthread_mutex_unlock(&q->lock);
		q->p.idle(q->p.arg);
		pthread_mutex_lock(&q->lock);
	}
	while (!q->jobs.first && !q->stop)
		pthread_cond_wait(&q->more, &q->lock);
	job = q->stop ? NULL : take(&q->jobs);
	pthread_mutex_unlock(&q->lock);
	return job;
}

/* As a driver does that waits for its device: who joins this thread waits for ever, too. */
static void hang(struct stage_queue *q, const struct sherd_job *job)
{
	if (!q->p.hang_after || job->kind != SHERD_JOB_STEP || q->n_steps++ < q->p.hang_after)
		return;
	for (;;)
		pause();
}

static void *queue_main(void *arg)
{
	struct stage_queue *q = arg;
	struct sherd_job *job;

	while ((job = next_job(q))) {
		hang(q, job);
		q->p.work(q->p.arg, job);
		deliver(q, job);
		if (q->p.after)
			q->p.after(q->p.arg);
	}
	q->p.end(q->p.arg);
	return NULL;
}

/* Signals are the loop's: this thread, and those that its device starts, take none. */
static int start_thread(struct stage_queue *q)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&q->thread, NULL, queue_main, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

/* --------------------------------------------------------------- the queue */

void stage_queue_add(struct stage_queue *q, struct sherd_job *job)
{
	pthread_mutex_lock(&q->lock);
	add(&q->jobs, job);
	pthread_mutex_unlock(&q->lock);
	pthread_cond_signal(&q->more);
}

static void destroy(struct stage_queue *q)
{
	pthread_cond_destroy(&q->more);
	pthread_mutex_destroy(&q->lock);
	mailbox_put(q->mail);
	free(q);
}

void stage_queue_free(struct stage_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_mutex_unlock(&q->lock);
	pthread_cond_signal(&q->more);
	pthread_join(q->thread, NULL);
	q->mail->closed = true;
	destroy(q);
}

int stage_queue_new(struct stage_queue **queue, const struct stage_queue_params *p,
		    struct sherd_error *err)
{
	struct stage_queue *q = sherd_calloc(1, sizeof(*q));
	struct mailbox *m = mailbox_new();
	pthread_condattr_t attr;
	int rc;

	*queue = NULL;
	if (!q || !m) {
		free(q);
		free(m);
		return sherd_fail_oom(err, sizeof(*q) + sizeof(*m), "a stage's queue");
	}
	q->p = *p;
	q->mail = m;
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->more, &attr);
	pthread_condattr_destroy(&attr);
	rc = start_thread(q);
	if (rc) {
		destroy(q);
		return sherd_fail(err, rc, "a stage's thread cannot be started: %s", strerror(-rc));
	}
	*queue = q;
	return 0;
}
