/* SPDX-License-Identifier: MIT */
/*
 * doctor_files: files below /proc, /sys, /etc and /dev, of this machine or of one that was recorded
 * (sherd_root). Who may open a device node is worked out from its mode, for a recorded system's
 * nodes cannot be opened here.
 */
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "doctor.h"

#define MAX_GROUPS 256

static FILE *system_open(const char *path)
{
	char *whole = sherd_asprintf("%s%s", sherd_root, path);
	FILE *f = whole ? fopen(whole, "re") : NULL;

	free(whole);
	return f;
}

bool system_line(const char *path, char *buf, size_t size)
{
	FILE *f = system_open(path);
	size_t n;

	buf[0] = '\0';
	if (!f)
		return false;
	/* what a device tree says ends with a NUL */
	n = fread(buf, 1, size - 1, f);
	fclose(f);
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	for (n = strlen(buf); n && strchr(" \t\r", buf[n - 1]); n--)
		buf[n - 1] = '\0';
	memmove(buf, buf + strspn(buf, " \t"), strlen(buf + strspn(buf, " \t")) + 1);
	return buf[0] != '\0';
}

bool system_number(const char *path, long long *n)
{
	char line[64], *end;

	if (!system_line(path, line, sizeof(line)))
		return false;
	errno = 0;
	*n = strtoll(line, &end, 10);
	return end != line && !errno;
}

bool system_exists(const char *path)
{
	char *whole = sherd_asprintf("%s%s", sherd_root, path);
	bool is = whole && !access(whole, F_OK);

	free(whole);
	return is;
}

int system_each(const char *pattern, system_visit_fn visit, void *ctx)
{
	char *whole = sherd_asprintf("%s%s", sherd_root, pattern);
	size_t skip = strlen(sherd_root), i;
	glob_t found;
	int n = 0;

	if (whole && !glob(whole, 0, NULL, &found)) {
		for (i = 0; i < found.gl_pathc; i++)
			if (visit)
				visit(ctx, found.gl_pathv[i] + skip);
		n = (int)found.gl_pathc;
		globfree(&found);
	}
	free(whole);
	return n;
}

bool system_value(const char *path, const char *name, char *buf, size_t size)
{
	FILE *f = system_open(path);
	char *line = NULL;
	size_t room = 0, n = strlen(name);
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0) {
		found = !strncmp(line, name, n) && line[n] == '=';
		if (found)
			snprintf(buf, size, "%.*s", (int)strcspn(line + n + 1, "\r\n"),
				 line + n + 1);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

bool system_env(const char *name, char *buf, size_t size)
{
	const char *value;

	buf[0] = '\0';
	if (sherd_root[0])
		return system_value("/env.txt", name, buf, size) && buf[0];
	value = getenv(name);
	snprintf(buf, size, "%s", value ? value : "");
	return buf[0] != '\0';
}

/* ------------------------------------------------------------------- nodes */

struct identity {
	unsigned uid, gid, groups[MAX_GROUPS];
	int n_groups;
};

static void read_identity_line(struct identity *me, char *line)
{
	unsigned ids[2];
	char *at, *end;

	if (sscanf(line, "Uid: %u %u", &ids[0], &ids[1]) == 2) {
		me->uid = ids[1];
	} else if (sscanf(line, "Gid: %u %u", &ids[0], &ids[1]) == 2) {
		me->gid = ids[1];
	} else if (!strncmp(line, "Groups:", 7)) {
		for (at = line + 7; me->n_groups < MAX_GROUPS; at = end) {
			unsigned long g = strtoul(at, &end, 10);

			if (end == at)
				break;
			me->groups[me->n_groups++] = (unsigned)g;
		}
	}
}

/* Of the process that looks, or of the shell that recorded. */
static void read_identity(struct identity *me)
{
	FILE *f = system_open("/proc/self/status");
	char *line = NULL;
	size_t size = 0;

	*me = (struct identity){ .uid = (unsigned)-1, .gid = (unsigned)-1 };
	while (f && getline(&line, &size, f) > 0)
		read_identity_line(me, line);
	free(line);
	if (f)
		fclose(f);
}

static bool recorded_node(const char *path, struct stat *st)
{
	FILE *f = system_open("/dev.txt");
	char *line = NULL, name[256];
	unsigned mode, uid, gid;
	bool found = false;
	size_t size = 0;

	while (f && !found && getline(&line, &size, f) > 0)
		found = sscanf(line, "%o %u %u %255s", &mode, &uid, &gid, name) == 4 &&
			!strcmp(name, path);
	free(line);
	if (f)
		fclose(f);
	if (found)
		*st = (struct stat){ .st_mode = mode, .st_uid = uid, .st_gid = gid };
	return found;
}

static void name_group(unsigned gid, char group[64])
{
	FILE *f = system_open("/etc/group");
	char *line = NULL, name[64];
	size_t size = 0;
	unsigned id;

	snprintf(group, 64, "%u", gid);
	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, "%63[^:]:%*[^:]:%u", name, &id) == 2 && id == gid)
			snprintf(group, 64, "%s", name);
	free(line);
	if (f)
		fclose(f);
}

static bool is_member(const struct identity *me, unsigned gid)
{
	for (int i = 0; i < me->n_groups; i++)
		if (me->groups[i] == gid)
			return true;
	return me->gid == gid;
}

int system_node(const char *path, char group[64])
{
	struct identity me;
	struct stat st;
	unsigned bits;

	group[0] = '\0';
	if (!(sherd_root[0] ? recorded_node(path, &st) : !stat(path, &st)))
		return -ENOENT;
	read_identity(&me);
	if (!me.uid)
		return 0;
	bits = me.uid == st.st_uid	 ? st.st_mode >> 6 :
	       is_member(&me, st.st_gid) ? st.st_mode >> 3 :
					   st.st_mode;
	if ((bits & 6) == 6)
		return 0;
	if ((st.st_mode >> 3 & 6) == 6)
		name_group(st.st_gid, group);
	return -EACCES;
}
