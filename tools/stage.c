/* SPDX-License-Identifier: MIT */
/*
 * stage: a queue, a thread that empties it, and the way back to the loop.
 *
 * The thread looks for work for some microseconds before it sleeps: at decode a stage waits for its
 * neighbours most of the time, and being woken up costs as much as the hop. Finished jobs go to a
 * mailbox which the loop empties. The mailbox outlives the stage as long as a post is on its way to
 * the loop: then nothing of the stage, nor of its jobs, is touched any more.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include "stage_trace.h"
#include "stage_work.h"

struct jobs {
	struct sherd_job *first, *last;
};

struct mailbox {
	pthread_mutex_t lock;
	struct jobs done;
	int refs; /* the stage's, and one of each post */
	bool closed; /* nobody wants to know any more; the loop's */
};

struct stage {
	struct sherd_stage base;
	struct stage_params p;
	char *model;
	struct stage_work work;
	struct mailbox *mail;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct jobs queue;
	bool stop;
	int n_steps; /* counted where it hangs after some */
	atomic_bool wanted; /* there is a job, or it is over: for a look without the lock */
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

static void deliver(struct stage *s, struct sherd_job *job)
{
	struct mailbox *m = s->mail;
	struct stage_trace_step step = { 0 };

	if (s->p.trace)
		stage_trace_take(&step, job);
	pthread_mutex_lock(&m->lock);
	add(&m->done, job);
	m->refs++;
	pthread_mutex_unlock(&m->lock);
	s->p.post(s->p.loop, empty_mailbox, m);
	if (step.rows)
		stage_trace_write(s->p.trace, &s->base.info, &step);
}

/* ------------------------------------------------------------------ thread */

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
	__asm__ volatile("yield");
#endif
}

/* Until there is work, but not for long. */
static void spin(struct stage *s)
{
	double end = sherd_now() + s->p.spin_us * 1e-6;

	while (!atomic_load_explicit(&s->wanted, memory_order_acquire) && sherd_now() < end)
		relax();
}

/* NULL: it is over. */
static struct sherd_job *next_job(struct stage *s)
{
	struct sherd_job *job;

	if (s->p.spin_us > 0)
		spin(s);
	pthread_mutex_lock(&s->lock);
	while (!s->queue.first && !s->stop)
		pthread_cond_wait(&s->more, &s->lock);
	job = s->stop ? NULL : take(&s->queue);
	atomic_store_explicit(&s->wanted, s->queue.first || s->stop, memory_order_relaxed);
	pthread_mutex_unlock(&s->lock);
	return job;
}

/* True: the job is not done, and the stage has been put in the meantime. */
static bool hangs(struct stage *s, const struct sherd_job *job)
{
	if (!s->p.hang_after || job->kind != SHERD_JOB_STEP || s->n_steps++ < s->p.hang_after)
		return false;
	pthread_mutex_lock(&s->lock);
	while (!s->stop)
		pthread_cond_wait(&s->more, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return true;
}

static void *stage_main(void *arg)
{
	struct stage *s = arg;
	struct sherd_job *job;

	if (s->p.dilate > 1) /* its sleeps are to end when they should */
		prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	while ((job = next_job(s)) && !hangs(s, job)) {
		stage_work(&s->work, job);
		deliver(s, job);
	}
	stage_work_end(&s->work);
	return NULL;
}

/* Signals are the loop's: this thread, and those that its device starts, take none. */
static int start_thread(struct stage *s)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, stage_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

/* --------------------------------------------------------------- the stage */

static void submit(struct sherd_stage *base, struct sherd_job *job)
{
	struct stage *s = (struct stage *)base;

	pthread_mutex_lock(&s->lock);
	add(&s->queue, job);
	atomic_store_explicit(&s->wanted, true, memory_order_release);
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->more);
}

static void free_stage(struct stage *s)
{
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->lock);
	mailbox_put(s->mail);
	free(s->model);
	free(s);
}

static void put(struct sherd_stage *base)
{
	struct stage *s = (struct stage *)base;

	pthread_mutex_lock(&s->lock);
	s->stop = true;
	atomic_store_explicit(&s->wanted, true, memory_order_release);
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->more);
	pthread_join(s->thread, NULL);
	s->mail->closed = true;
	free_stage(s);
}

int stage_new(struct sherd_stage **stage, const struct stage_params *p, struct sherd_error *err)
{
	static const struct sherd_stage_ops ops = { .submit = submit, .put = put };
	struct stage *s = sherd_calloc(1, sizeof(*s));
	int rc;

	*stage = NULL;
	if (!s)
		return sherd_fail_oom(err, sizeof(*s), "a stage");
	s->base.ops = &ops;
	s->p = *p;
	s->p.model = s->model = strdup(p->model);
	s->mail = mailbox_new();
	if (!s->model || !s->mail) {
		free(s->model);
		free(s->mail);
		free(s);
		return sherd_fail_oom(err, sizeof(*s->mail), "a stage");
	}
	s->work.p = &s->p;
	s->work.info = &s->base.info;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	rc = start_thread(s);
	if (rc) {
		free_stage(s);
		return sherd_fail(err, rc, "a stage's thread cannot be started: %s", strerror(-rc));
	}
	*stage = &s->base;
	return 0;
}
