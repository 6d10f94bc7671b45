/* SPDX-License-Identifier: MIT */
/*
 * tune_find: where tune files are kept, and which one counts: the first that fits, from what the
 * user says to what sherd ships. Files are not merged: who reads one knows what is used.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "device/tune.h"

#define FILE_LIMIT (256u << 10)
#define MAX_FILES  256 /* of a folder */

struct search {
	struct sherd_tune *t;
	const struct sherd_device *dev;
	sherd_note_fn note;
	void *ctx;
};

static void note(const struct search *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void note(const struct search *s, const char *fmt, ...)
{
	char text[768];
	va_list ap;

	if (!s->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->note(s->ctx, text);
}

static int read_file(struct sherd_tune *t, const char *path, struct sherd_error *err)
{
	char *text;
	size_t size;
	int rc = sherd_read_file(path, FILE_LIMIT, &text, &size, err);

	memset(t, 0, sizeof(*t));
	if (rc)
		return rc;
	rc = sherd_tune_parse(t, text, size, path, err);
	free(text);
	if (rc)
		return rc;
	t->path = strdup(path);
	if (t->path)
		return 0;
	sherd_tune_free(t);
	return sherd_fail_oom(err, strlen(path), "a tune file's name");
}

/* True: the file at hand is the one. Otherwise it is forgotten. */
static bool take(struct search *s, bool asked)
{
	if (!sherd_tune_fits(s->t, s->dev)) {
		if (asked)
			note(s, "%s: is for other devices (%s) than %s, and not used", s->t->path,
			     s->t->name[0] ? s->t->name : "another shape", s->dev->info.name);
	} else if (sherd_tune_is_stale(s->t)) {
		note(s,
		     "%s: was measured with other kernels than this sherd has, and is not used: "
		     "sherd tune measures anew",
		     s->t->path);
	} else {
		return true;
	}
	sherd_tune_free(s->t);
	return false;
}

static int asked_for(struct search *s, const char *path, struct sherd_error *err)
{
	int rc = read_file(s->t, path, err);

	if (!rc)
		take(s, true);
	return rc;
}

/* ------------------------------------------------------------------ folders */

static int is_tune_file(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot && !strcmp(dot, ".tune");
}

/* The first file, by name, that fits: measured ones (@untested false), or the others. */
static bool in_folder(struct search *s, const char *dir, bool untested)
{
	struct dirent **entries;
	struct sherd_error why;
	bool found = false;
	int n = scandir(dir, &entries, is_tune_file, alphasort), i;

	for (i = 0; i < n; i++) {
		char *path = found || i >= MAX_FILES ?
				     NULL :
				     sherd_asprintf("%s/%s", dir, entries[i]->d_name);

		free(entries[i]);
		if (!path)
			continue;
		if (read_file(s->t, path, &why)) {
			if (!untested)
				note(s, "%s (it is not used)", why.msg);
		} else if (!!s->t->untested[0] != untested) {
			sherd_tune_free(s->t);
		} else {
			found = take(s, false);
		}
		free(path);
	}
	if (n >= 0)
		free(entries);
	return found;
}

char *sherd_tune_user_dir(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && *config == '/')
		return sherd_asprintf("%s/sherd/tune", config);
	return home && *home == '/' ? sherd_asprintf("%s/.config/sherd/tune", home) : NULL;
}

/* <prefix>/share/sherd/tune, if this program is <prefix>/bin/sherd. */
static char *beside_program(void)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len <= 0)
		return NULL;
	self[len] = 0;
	slash = strrchr(self, '/');
	if (!slash || strcmp(slash, "/sherd"))
		return NULL;
	*slash = 0;
	slash = strrchr(self, '/');
	if (!slash || strcmp(slash, "/bin"))
		return NULL;
	*slash = 0;
	return sherd_asprintf("%s/share/sherd/tune", self);
}

static void in_folders(struct search *s)
{
	char *folders[] = { sherd_tune_user_dir(),
			    sherd_asprintf("%s/etc/sherd/tune.d", sherd_root), beside_program(),
			    sherd_asprintf("%s/usr/local/share/sherd/tune", sherd_root),
			    sherd_asprintf("%s/usr/share/sherd/tune", sherd_root) };
	bool found = false;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(folders); i++) {
		if (!found && folders[i])
			found = in_folder(s, folders[i], false) || in_folder(s, folders[i], true);
		free(folders[i]);
	}
}

/* The one file that the user names; NULL: none, or "none". */
static const char *named(const char *which)
{
	if (!which || !*which)
		which = getenv("SHERD_TUNE");
	return which && *which && strcmp(which, "none") ? which : NULL;
}

int sherd_tune_check(const char *which, struct sherd_error *err)
{
	struct sherd_tune t;
	int rc = named(which) ? read_file(&t, named(which), err) : 0;

	if (!rc && named(which))
		sherd_tune_free(&t);
	return rc;
}

int sherd_tune_search(struct sherd_tune *t, const char *which, const struct sherd_device *dev,
		      sherd_note_fn on_note, void *ctx, struct sherd_error *err)
{
	struct search s = { t, dev, on_note, ctx };

	memset(t, 0, sizeof(*t));
	if (!which || !*which)
		which = getenv("SHERD_TUNE");
	if (which && !strcmp(which, "none"))
		return 0;
	if (which && *which)
		return asked_for(&s, which, err);
	in_folders(&s);
	return 0;
}
