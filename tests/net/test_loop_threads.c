/* SPDX-License-Identifier: MIT */
/* What other threads want of the loop, and timers. */
#include <pthread.h>
#include <unistd.h>
#include "rig.h"

#define N_THREADS 4
#define N_POSTS 500

struct poster {
	pthread_t thread;
	struct rig *r;
	int posted, ran;
	bool late;
};

static struct poster posters[N_THREADS];
struct posted {
	struct poster *p;
	int number;
};

static void run_posted(void *arg)
{
	struct posted *job = arg;

	assert_int_equal(job->number, job->p->ran++);
	free(job);
}

static void *post(void *arg)
{
	struct poster *p = arg;

	for (; p->posted < N_POSTS; p->posted++) {
		struct posted *job = malloc(sizeof(*job));

		*job = (struct posted){ p, p->posted };
		while (sherd_loop_post(p->r->loop, run_posted, job))
			;
		if (p->posted % 100 == 0)
			usleep(1000); /* lets the loop fall asleep */
	}
	return NULL;
}

static bool all_ran(struct rig *r)
{
	(void)r;
	for (int i = 0; i < N_THREADS; i++)
		if (posters[i].ran < N_POSTS)
			return false;
	return true;
}

static void what_threads_post_runs_once_and_in_order(struct rig *r)
{
	rig_start(r);
	for (int i = 0; i < N_THREADS; i++) {
		posters[i] = (struct poster){ .r = r };
		pthread_create(&posters[i].thread, NULL, post, &posters[i]);
	}
	rig_run(r, all_ran);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(posters[i].thread, NULL);
	rig_end(r);
}

/* One at a time, visitors and timers; what they count is nobody's else. */
static struct visited {
	struct rig *r;
	struct sherd_timer t;
	long inside, count, at_once;
	pthread_t loop;
} visited;

static void enter(void *arg)
{
	struct visited *v = arg;

	assert_int_equal(v->inside++, 0);
	v->count++;
	v->at_once += !pthread_equal(pthread_self(), v->loop);
	if (v->count % 3)
		sherd_timer_after(v->r->net, &v->t, 50 + (uint64_t)rand() % 400);
	assert_int_equal(--v->inside, 0);
}

static void *visit(void *loop)
{
	for (int i = 0; i < N_POSTS; i++) {
		while (sherd_loop_visit(loop, enter, &visited))
			;
		usleep(i % 4 ? 0 : 300);
	}
	return NULL;
}

static bool all_visited(struct rig *r)
{
	(void)r;
	return visited.count >= N_THREADS * N_POSTS;
}

static void fire_visited(void *ctx)
{
	struct visited *v = ctx;

	assert_int_equal(v->inside++, 0);
	assert_int_equal(--v->inside, 0);
}

static void visitors_have_the_loop_one_at_a_time_and_at_once_if_it_sleeps(struct rig *r)
{
	pthread_t threads[N_THREADS];

	rig_start(r);
	visited = (struct visited){ .r = r,
				    .t = { .fire = fire_visited, .ctx = &visited },
				    .loop = pthread_self() };
	for (int i = 0; i < N_THREADS; i++)
		pthread_create(&threads[i], NULL, visit, r->loop);
	rig_run(r, all_visited);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(visited.count, N_THREADS * N_POSTS);
	if (r->loop->io != SHERD_IO_EPOLL)
		assert_true(visited.at_once > 0);
	else
		assert_int_equal(visited.at_once, 0);
	sherd_timer_stop(r->net, &visited.t);
	rig_end(r);
}

static void *stop_soon(void *loop)
{
	usleep(20000);
	sherd_loop_stop(loop);
	return NULL;
}

static void another_thread_can_stop_a_loop_that_sleeps(struct rig *r)
{
	pthread_t thread;

	rig_start(r);
	for (int i = 0; i < 2; i++) {
		pthread_create(&thread, NULL, stop_soon, r->loop);
		assert_int_equal(sherd_loop_run(r->loop, &r->err), 0);
		pthread_join(thread, NULL);
	}
	sherd_loop_stop(r->loop); /* before it runs */
	assert_int_equal(sherd_loop_run(r->loop, &r->err), 0);
	rig_end(r);
}

#define N_TIMERS 50
static struct alarm {
	struct sherd_timer t;
	struct rig *r;
	uint64_t when;
	int fired, again;
} alarms[N_TIMERS];
static uint64_t last_fired;
static int n_fired, n_expected;

static void fire(void *ctx)
{
	struct alarm *m = ctx;

	assert_int_equal(m->t.when, 0);
	assert_true(sherd_net_now(m->r->net) >= m->when);
	if (!m->fired) {
		assert_true(m->when >= last_fired);
		last_fired = m->when;
	}
	n_fired++;
	if (m->fired++ < m->again) {
		m->when = m->t.when = m->fired % 2 ? 1 : sherd_net_now(m->r->net) + 300;
		m->r->net->ops->timer(m->r->net, &m->t);
	}
	if (m == &alarms[0])
		sherd_timer_stop(m->r->net, &alarms[1].t);
}

static bool all_fired(struct rig *r)
{
	(void)r;
	return n_fired >= n_expected;
}

static void timers_fire_in_order_and_once_unless_set_again(struct rig *r)
{
	uint64_t now;

	memset(alarms, 0, sizeof(alarms));
	n_fired = n_expected = 0;
	last_fired = 0;
	rig_start(r);
	now = sherd_net_now(r->net);
	for (int i = 0; i < N_TIMERS; i++) {
		alarms[i] = (struct alarm){ .r = r,
					    .when = now + 1000 + rand() % 20000,
					    .again = rand() % 4 };
		if (i < 2) /* both due in the same round, and the first stops the second */
			alarms[i].when = now + 500 + i, alarms[i].again = 0;
		alarms[i].t =
			(struct sherd_timer){ .when = now + 7, .fire = fire, .ctx = &alarms[i] };
		r->net->ops->timer(r->net, &alarms[i].t);
		alarms[i].t.when = alarms[i].when; /* set to another time */
		r->net->ops->timer(r->net, &alarms[i].t);
		n_expected += i == 1 ? 0 : 1 + alarms[i].again;
	}
	usleep(600);
	rig_run(r, all_fired);
	rig_run_ms(r, 30);
	assert_int_equal(n_fired, n_expected);
	assert_int_equal(alarms[1].fired, 0);
	rig_end(r);
}

static const struct rig_case cases[] = {
	CASE(what_threads_post_runs_once_and_in_order),
	CASE(visitors_have_the_loop_one_at_a_time_and_at_once_if_it_sleeps),
	CASE(another_thread_can_stop_a_loop_that_sleeps),
	CASE(timers_fire_in_order_and_once_unless_set_again),
};

int main(int argc, char **argv)
{
	return rig_run_cases(argc, argv, cases, ARRAY_SIZE(cases));
}
