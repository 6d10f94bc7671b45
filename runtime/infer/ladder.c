/* SPDX-License-Identifier: MIT */
/*
 * ladder: what computes. Drivers fail in many ways, and each rung of this ladder does without
 * something that the one above it had:
 *
 *	the device, as tuned
 *	by default
 *	without walk.cl: each step is a launch
 *	by plain code, with walk.cl and without
 *	the CPU instead of the device, likewise
 *	plain C, without OpenCL
 *
 * A rung fails when its programs can't be compiled, or give other bits than the reference. Who ends
 * up lower than on the first is told why, at each start. A device that somebody asked for by name is
 * not left for another, and neither is a path of dot4.h.
 *
 * A compiler that hangs takes the time limit, and does so once: other code - what is not tuned, if
 * something was, and plain code - then gets a fifth of it each, and else a device is opened, now and at
 * later starts, only with programs that are known to pass.
 */
#include <stdio.h>
#include "device/device.h"
#include "infer/cl/cl.h"
#include "infer/exec.h"

struct ladder {
	const struct sherd_exec_params *p;
	struct sherd_exec **e;
	struct sherd_exec_choice choice; /* forgotten when it fails */
	struct sherd_exec_trial trial;
	struct sherd_exec_tried tried;
	struct sherd_error why; /* the last rung failed */
	char remarks[4096];	/* lines about this device's rungs, said when one holds */
};

static void say(const struct ladder *l, const char *sentence)
{
	if (l->p->note)
		l->p->note(l->p->ctx, sentence);
}

static void remark(struct ladder *l, const char *what, const char *instead)
{
	size_t len = strlen(l->remarks);

	snprintf(l->remarks + len, sizeof(l->remarks) - len, "%s fails here, and %s: %s\n", what,
		 instead, l->why.msg);
}

/* The next rung of this device; false: there is none. */
static bool step_down(struct ladder *l)
{
	const struct sherd_exec_tried *had = &l->tried;
	struct sherd_exec_trial *t = &l->trial;

	if (!had->programs)
		return false;
	if (had->tuned) {
		t->untuned = true;
		remark(l, "a tuned kernel", "the defaults take their place");
	} else if (had->walks) {
		t->walkless = true;
		remark(l, "walk.cl", "each step is a launch, which is slower");
	} else if (had->dot && strcmp(had->dot, "plain")) {
		t->plain = true;
		t->walkless = false;
		l->remarks[0] = 0;
		remark(l, had->dot, "plain code takes its place");
	} else {
		return false;
	}
	return true;
}

/* Seconds for the tests of the next rung, after so many that hung. */
static double time_limit(const struct ladder *l, int n_hung)
{
	double limit = sherd_device_patience(SHERD_CL_TIME_LIMIT);
	int n_chances = l->trial.untuned + l->trial.plain;

	if (!n_hung)
		return limit;
	return n_hung <= n_chances ? SHERD_CL_SECOND_CHANCE * limit : 0;
}

/* As far down as the device goes; -ETIMEDOUT: its compiler hung, now or at an earlier start. */
static int try_device(struct ladder *l)
{
	struct sherd_error err = { "" };
	int rc, n_hung = 0;

	l->remarks[0] = 0;
	do {
		l->trial.limit = time_limit(l, n_hung);
		rc = sherd_exec_cl_open(l->e, l->p, &l->trial, &l->tried, &err);
		if (!rc) {
			sherd_each_line(l->remarks, l->p->note, l->p->ctx);
			return 0;
		}
		if (l->trial.limit) /* that something was not tested is no news */
			l->why = err;
		n_hung += l->trial.limit && rc == -ETIMEDOUT;
	} while (step_down(l));
	return n_hung && rc != -ENOMEM ? -ETIMEDOUT : rc; /* for want of memory something can be done */
}

static bool is_there_a_cpu(void)
{
	struct sherd_device_info *list;
	bool found = false;
	int n;

	if (sherd_device_list(&list, &n, NULL))
		return false;
	for (int i = 0; i < n; i++)
		found |= list[i].is_cpu && list[i].usable;
	sherd_device_list_free(list, n);
	return found;
}

/* The CPU in the place of a device that is none. */
static int try_cpu(struct ladder *l)
{
	char left[sizeof(l->tried.name)], note[sizeof(l->why.msg) + sizeof(left) + 64];
	int rc;

	strcpy(left, l->tried.name);
	snprintf(note, sizeof(note), "%s fails here, and the CPU takes its place: %s", left,
		 l->why.msg);
	say(l, note);
	l->choice.device[0] = 0;
	l->trial = (struct sherd_exec_trial){ .device = "cpu" };
	rc = try_device(l);
	if (!rc)
		snprintf((*l->e)->why, sizeof((*l->e)->why), "in the place of %s", left);
	return rc;
}

static int try_plain_c(struct ladder *l, struct sherd_error *err)
{
	char note[sizeof(l->why.msg) + 96];
	int rc;

	snprintf(note, sizeof(note),
		 "no OpenCL device works, and plain C computes, slowly (sherd doctor looks closer): %s",
		 l->why.msg);
	say(l, note);
	l->choice.device[0] = 0;
	rc = sherd_exec_ref_open(l->e, l->p, err);
	if (!rc)
		snprintf((*l->e)->why, sizeof((*l->e)->why), "no OpenCL device works");
	return rc;
}

/*
 * Where no device works, plain C computes. Where there is none at all, or none was asked for by
 * name, or memory lacks, something else helps.
 */
static bool is_plain_c_better(const struct ladder *l, int rc)
{
	return l->p->automatic && rc != -ENOMEM && (rc != -ENODEV || sherd_icd_skipped());
}

static int climb_down(struct ladder *l, struct sherd_error *err)
{
	int rc = try_device(l);

	sherd_each_line(sherd_icd_skipped(), l->p->note, l->p->ctx);
	if (rc && rc != -ENODEV && l->p->automatic && !l->tried.is_cpu && is_there_a_cpu())
		rc = try_cpu(l);
	if (rc && is_plain_c_better(l, rc))
		return try_plain_c(l, err);
	if (rc && err)
		*err = l->why;
	if (rc == -ENODEV)
		sherd_fail(err, rc, "%s (--device reference computes without OpenCL, slowly)",
			   l->why.msg);
	return rc;
}

int sherd_exec_open(struct sherd_exec **e, const struct sherd_exec_params *p,
		    struct sherd_error *err)
{
	struct ladder l = { .p = p, .e = e };
	int rc;

	if (p->automatic && !p->untested)
		sherd_exec_choose(p, &l.choice);
	l.trial.device = l.choice.device[0] ? l.choice.device : p->device;
	if (l.trial.device && !strcmp(l.trial.device, "reference")) {
		if (p->automatic)
			sherd_each_line(sherd_icd_skipped(), p->note, p->ctx);
		rc = sherd_exec_ref_open(e, p, err);
	} else {
		rc = climb_down(&l, err);
	}
	if (rc)
		return rc;
	if (l.choice.device[0]) {
		strcpy((*e)->why, l.choice.why);
		strcpy((*e)->chosen, l.choice.device);
	}
	return 0;
}
