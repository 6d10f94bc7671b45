/* SPDX-License-Identifier: MIT */
/*
 * icd_list: which OpenCL drivers the loader would load, and a key for each that changes with it: its
 * library's path, size and time, the kernel and sherd's version.
 *
 * A vendor's libOpenCL may be the driver itself, and no loader. Which it is, its file has to show:
 * that is read, some hundred KB, at each start.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "device/icd.h"
#include "device/query.h"

#define VENDORS	   "/etc/OpenCL/vendors"
#define TEXT_MAX   4096 /* of an .icd file: a path */
#define LOADER_MAX (2u << 20)

/* "dir/name" with its size and time; false: there is no such file. */
static bool stamp(const char *dir, const char *name, char *text, size_t size)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", name);
	if (stat(path, &st))
		return false;
	snprintf(text, size, "%s %lld %lld.%09ld", path, (long long)st.st_size,
		 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return true;
}

/* The library behind clGetPlatformIDs. */
static const char *loader_path(void)
{
	Dl_info info;

	return dladdr((void *)clGetPlatformIDs, &info) && info.dli_fname ? info.dli_fname : "";
}

/*
 * What tells one state of a library from the next. A name without a folder is looked for where the
 * dynamic linker is likely to; else what the linker knows of stands for it.
 */
static void library_stamp(const char *library, char *text, size_t size)
{
	const char *more[] = { "/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64" };
	char loader[PATH_MAX], *all, *dir, *save = NULL;
	bool found = false;

	if (strchr(library, '/')) {
		if (!stamp("", library, text, size))
			snprintf(text, size, "%s, which is not there", library);
		return;
	}
	all = strdup(getenv("LD_LIBRARY_PATH") ?: "");
	for (dir = all ? strtok_r(all, ":", &save) : NULL; dir && !found;
	     dir = strtok_r(NULL, ":", &save))
		found = stamp(dir, library, text, size);
	free(all);
	snprintf(loader, sizeof(loader), "%s", loader_path());
	if (!found)
		found = stamp(dirname(loader), library, text, size);
	for (size_t i = 0; i < ARRAY_SIZE(more) && !found; i++)
		found = stamp(more[i], library, text, size);
	if (!found && !stamp("", "/etc/ld.so.cache", text, size))
		snprintf(text, size, "%s", library);
}

static void make_key(struct icd *i)
{
	struct utsname u = { .release = "" };
	char lib[PATH_MAX + 64];
	const char *parts[] = { "icd 1", SHERD_VERSION, i->library, lib, u.release };
	struct sherd_sha256 *s = sherd_sha256_new();

	uname(&u);
	library_stamp(i->library, lib, sizeof(lib));
	for (size_t k = 0; k < ARRAY_SIZE(parts); k++)
		sherd_sha256_add(s, parts[k], strlen(parts[k]) + 1);
	sherd_sha256_end(s, i->key);
}

static void add(struct icds *l, const char *file, const char *library, size_t len)
{
	struct icd *i = &l->icd[l->n];

	if (l->n == SHERD_MAX_ICDS || !len)
		return;
	*i = (struct icd){ .file = strdup(file), .library = strndup(library, len) };
	if (!i->file || !i->library) {
		free(i->file);
		free(i->library);
		return;
	}
	make_key(i);
	l->n++;
}

static void add_file(struct icds *l, const char *path)
{
	char *text = NULL;
	size_t size;

	if (sherd_read_file(path, TEXT_MAX, &text, &size, NULL))
		return;
	add(l, path, text, strcspn(text, "\r\n"));
	free(text);
}

static int by_library(const void *a, const void *b)
{
	return strcmp(((const struct icd *)a)->library, ((const struct icd *)b)->library);
}

/* As loaders read it: a folder, an .icd file, or a library. */
static void read_vendors(struct icds *l, const char *vendors)
{
	DIR *d = opendir(vendors);
	struct dirent *e;

	if (!d && sherd_ends_with(vendors, ".icd"))
		add_file(l, vendors);
	else if (!d && !access(vendors, R_OK))
		add(l, vendors, vendors, strlen(vendors));
	while (d && (e = readdir(d))) {
		char *path = sherd_ends_with(e->d_name, ".icd") ?
				     sherd_asprintf("%s/%s", vendors, e->d_name) :
				     NULL;

		if (path)
			add_file(l, path);
		free(path);
	}
	if (d)
		closedir(d);
	qsort(l->icd, l->n, sizeof(*l->icd), by_library);
}

/*
 * Is libOpenCL a loader that we can point to other drivers? They are small and name the variable; a
 * vendor's libOpenCL, which is the driver itself, is not, or does not.
 */
static bool is_loader(void)
{
	static const char variable[] = "OCL_ICD_VENDORS";
	char *data = NULL;
	size_t size = 0;
	bool found = !sherd_read_file(loader_path(), LOADER_MAX, &data, &size, NULL) &&
		     memmem(data, size, variable, strlen(variable));

	free(data);
	return found;
}

void sherd_icds_read(struct icds *l)
{
	const char *vendors = getenv("OCL_ICD_VENDORS");

	l->n = 0;
	if (!is_loader()) {
		add(l, loader_path(), loader_path(), strlen(loader_path()));
		return;
	}
	if (!vendors || !*vendors)
		vendors = getenv("OPENCL_VENDOR_PATH");
	read_vendors(l, vendors && *vendors ? vendors : VENDORS);
}

void sherd_icds_free(struct icds *l)
{
	for (int i = 0; i < l->n; i++) {
		free(l->icd[i].file);
		free(l->icd[i].library);
	}
	l->n = 0;
}
