/* SPDX-License-Identifier: MIT */
/*
 * icd: which OpenCL drivers the loader may load. Being asked what there is, is enough for some
 * drivers to crash or hang, and they take the process along, though another driver beside them is
 * good. So a driver that is new - its library, the kernel or sherd has changed - is loaded in a
 * child first (icd_try.c); what happens there is remembered. Drivers that fail are left out by
 * pointing the loader (OCL_ICD_VENDORS, which ocl-icd and Khronos' loader read) to a folder of the
 * others' .icd files. Where all are known, no driver is touched for that, and it costs looking at
 * their files and at libOpenCL's (icd_list.c).
 *
 * A failure is remembered until the next boot: a GPU that hangs may be well after it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "device/icd.h"
#include "device/query.h"

#define TIME_LIMIT 30.0 /* seconds: some take five to wake a GPU */
#define BAD	   "not safe: " /* and the reason */

static struct {
	bool done;
	int rc;
	char *skipped; /* sentences, each a line; NULL: none */
	char *vendors; /* what OCL_ICD_VENDORS was before; NULL: as it is */
	char identity[SHERD_SHA256_HEX];
} state;

/* ---------------------------------------------------------- what is known of it */

static char *bad_key(const struct icd *i, char key[SHERD_SHA256_HEX])
{
	char *boot = NULL;
	struct sherd_sha256 *s = sherd_sha256_new();
	size_t n = 0;

	sherd_read_file("/proc/sys/kernel/random/boot_id", 64, &boot, &n, NULL);
	sherd_sha256_add(s, i->key, sizeof(i->key));
	sherd_sha256_add(s, boot ? boot : "", boot ? n : 0);
	sherd_sha256_end(s, key);
	free(boot);
	return key;
}

static void recall(struct icd *i)
{
	char key[SHERD_SHA256_HEX], *verdict = sherd_device_verdict_get(i->key);

	i->good = sherd_verdict_passed(verdict);
	free(verdict);
	if (i->good)
		return;
	verdict = sherd_device_verdict_get(bad_key(i, key));
	i->bad = verdict && !strncmp(verdict, BAD, strlen(BAD)) && strchr(verdict, '\n');
	if (i->bad)
		sherd_fail(&i->why, -EBADE, "%.*s (at an earlier start; sherd doctor tries again)",
			   (int)strcspn(verdict, "\n") - (int)strlen(BAD), verdict + strlen(BAD));
	free(verdict);
}

static void remember(const struct icd *i)
{
	char key[SHERD_SHA256_HEX], *text;

	if (i->good)
		sherd_device_verdict_put(i->key, SHERD_PASSED, NULL);
	if (!i->bad)
		return;
	text = sherd_asprintf("%s%s\n", BAD, i->why.msg);
	if (text)
		sherd_device_verdict_put(bad_key(i, key), text, NULL);
	free(text);
}

/* ------------------------------------------------------------------ trying out */

static char *new_folder(const char *key)
{
	const char *temporary = sherd_pocl_temporary();
	char *dir = sherd_device_cache_path(key, ".vendors");

	if (dir && (!mkdir(dir, 0700) || errno == EEXIST))
		return dir;
	free(dir);
	dir = temporary ? sherd_asprintf("%s/%.16s", temporary, key) : NULL;
	if (dir && (!mkdir(dir, 0700) || errno == EEXIST))
		return dir;
	free(dir);
	return NULL;
}

static int write_icd(const char *dir, int number, const char *library)
{
	char *path = sherd_asprintf("%s/%d.icd", dir, number);
	struct sherd_outfile out;
	int rc = path ? 0 : -ENOMEM;

	/* the folder is named by what is in it, and files appear whole */
	if (!rc && access(path, R_OK)) {
		rc = sherd_outfile_open(&out, path, NULL);
		if (rc)
			goto out;
		rc = sherd_write_all(out.fd, library, strlen(library), path, NULL);
		if (rc)
			sherd_outfile_abort(&out);
		else
			rc = sherd_outfile_commit(&out, NULL);
	}
out:
	free(path);
	return rc;
}

/* A folder that names those that are marked; NULL: no room. */
static char *make_folder(const struct icds *l, const bool in[SHERD_MAX_ICDS])
{
	struct sherd_sha256 *s = sherd_sha256_new();
	char key[SHERD_SHA256_HEX], *dir;
	int rc;

	for (int i = 0; i < l->n; i++)
		if (in[i])
			sherd_sha256_add(s, l->icd[i].library, strlen(l->icd[i].library) + 1);
	sherd_sha256_end(s, key);
	dir = new_folder(key);
	rc = dir ? 0 : -EIO;
	for (int i = 0, k = 0; i < l->n && !rc; i++)
		if (in[i])
			rc = write_icd(dir, k++, l->icd[i].library);
	if (!rc)
		return dir;
	free(dir);
	return NULL;
}

/* Loads the drivers of @dir (NULL: all) in a child. */
static int try_child(const char *dir, struct sherd_error *err)
{
	const char *argv[] = { "--platforms", dir ? "--vendors" : NULL, dir, NULL };

	return sherd_device_child(argv, sherd_device_patience(TIME_LIMIT), err);
}

static bool is_the_drivers(int rc)
{
	return rc == -EBADE || rc == -ETIMEDOUT;
}

/*
 * Beside those that are good: some fail alone, and some make the loader fail where there are more. A
 * folder is needed where others are left out.
 */
static void try_one(struct icds *l, int one)
{
	struct icd *icd = &l->icd[one];
	struct sherd_error err = { "" };
	bool in[SHERD_MAX_ICDS], all = true;
	char *dir = NULL;
	int rc;

	for (int i = 0; i < l->n; i++) {
		in[i] = l->icd[i].good || i == one;
		all &= in[i];
	}
	if (!all)
		dir = make_folder(l, in);
	rc = all || dir ? try_child(dir, &err) : -EIO;
	free(dir);
	icd->good = !rc;
	icd->bad = is_the_drivers(rc);
	icd->why = err;
}

/* All at once where none is known to be bad: that they are good is the rule. False: some is not. */
static bool try_all(struct icds *l)
{
	struct sherd_error err = { "" };
	int rc;

	for (int i = 0; i < l->n; i++)
		if (l->icd[i].bad)
			return false;
	rc = try_child(NULL, &err);
	if (is_the_drivers(rc))
		return false;
	for (int i = 0; i < l->n; i++) {
		l->icd[i].good |= !rc;
		l->icd[i].why = err;
	}
	return true;
}

static bool is_unknown(const struct icd *i)
{
	return !i->good && !i->bad;
}

static void try_unknown(struct icds *l)
{
	bool unknown[SHERD_MAX_ICDS], done;
	int n = 0;

	for (int i = 0; i < l->n; i++)
		n += unknown[i] = is_unknown(&l->icd[i]);
	done = n > 1 && try_all(l);
	for (int i = 0; i < l->n; i++) {
		if (!unknown[i])
			continue;
		if (!done)
			try_one(l, i);
		remember(&l->icd[i]);
	}
}

/* ----------------------------------------------------------------- leaving out */

static void add_skipped(const struct icd *i)
{
	bool same = !strcmp(i->file, i->library);
	char *more = sherd_asprintf("%s%s%s%s%s%s is left out, since loading it is not safe: %s",
				    state.skipped ? state.skipped : "", state.skipped ? "\n" : "",
				    i->file, same ? "" : " (", same ? "" : i->library,
				    same ? "" : ")", i->why.msg);

	if (!more)
		return;
	free(state.skipped);
	state.skipped = more;
}

/* -ENODEV: there is nothing else, or no way to leave it out. */
static int leave_out(const struct icds *l, int n_bad)
{
	bool in[SHERD_MAX_ICDS];
	char *dir;

	for (int i = 0; i < l->n; i++)
		in[i] = !l->icd[i].bad;
	dir = n_bad < l->n ? make_folder(l, in) : NULL;
	if (!dir)
		return -ENODEV;
	state.vendors = strdup(getenv("OCL_ICD_VENDORS") ?: "");
	setenv("OCL_ICD_VENDORS", dir, 1);
	free(dir);
	return 0;
}

static void make_identity(const struct icds *l)
{
	struct sherd_sha256 *s = sherd_sha256_new();

	for (int i = 0; i < l->n; i++)
		if (!l->icd[i].bad)
			sherd_sha256_add(s, l->icd[i].key, sizeof(l->icd[i].key));
	sherd_sha256_end(s, state.identity);
}

static int prepare(void)
{
	struct icds l;
	int n_bad = 0, rc = 0;

	sherd_icds_read(&l);
	if (!sherd_device_is_child()) {
		for (int i = 0; i < l.n; i++)
			recall(&l.icd[i]);
		try_unknown(&l);
	}
	for (int i = 0; i < l.n; i++)
		if (l.icd[i].bad) {
			add_skipped(&l.icd[i]);
			n_bad++;
		}
	make_identity(&l);
	if (n_bad)
		rc = leave_out(&l, n_bad);
	sherd_icds_free(&l);
	return rc;
}

int sherd_icd_prepare(struct sherd_error *err)
{
	if (!state.done)
		state.rc = prepare();
	state.done = true;
	return state.rc ? sherd_fail(err, state.rc, "no OpenCL driver can be used: %s",
				     state.skipped) : 0;
}

void sherd_icd_forget(void)
{
	struct icds l;

	sherd_icds_read(&l);
	for (int i = 0; i < l.n; i++) {
		char key[SHERD_SHA256_HEX];
		char *path = sherd_device_verdict_path(bad_key(&l.icd[i], key));

		if (path)
			unlink(path);
		free(path);
	}
	sherd_icds_free(&l);
}

const char *sherd_icd_skipped(void)
{
	return state.skipped;
}

const char *sherd_icd_vendors(void)
{
	return state.vendors ? state.vendors : getenv("OCL_ICD_VENDORS");
}

const char *sherd_icd_identity(void)
{
	return state.identity;
}
