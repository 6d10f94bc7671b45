/* SPDX-License-Identifier: MIT */
/*
 * icd: which OpenCL drivers the loader may load. Being asked what there is, is enough for some
 * drivers to crash or hang, and they take the process along, though another driver beside them is
 * good. So a driver that is new - its library, the kernel or sherd has changed - is loaded in a
 * child first; what happens there is remembered. Drivers that fail are left out by pointing the
 * loader (OCL_ICD_VENDORS, which ocl-icd and Khronos' loader read) to a folder of the others' .icd
 * files. Where all are known, this costs a few calls of stat().
 *
 * A failure is remembered until the next boot: a GPU that hangs may be well after it.
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
#include "device/query.h"

#define VENDORS	   "/etc/OpenCL/vendors"
#define MAX_ICDS   32
#define TEXT_MAX   4096 /* of an .icd file: a path */
#define LOADER_MAX (2u << 20)
#define TIME_LIMIT 30.0 /* seconds: some take five to wake a GPU */
#define GOOD	   "passed\n"
#define BAD	   "failed: "

/* One driver: an .icd file, or a libOpenCL that is a driver itself and not a loader. */
struct icd {
	char *file, *library;
	char key[SHERD_SHA256_HEX]; /* of this driver as it is now, on this kernel */
	bool good, bad;
	struct sherd_error why;
};

struct icds {
	struct icd icd[MAX_ICDS];
	int n;
};

static struct {
	bool done;
	int rc;
	char *skipped; /* sentences, each a line; NULL: none */
	char *vendors; /* what OCL_ICD_VENDORS was before; NULL: as it is */
	char identity[SHERD_SHA256_HEX];
} state;

/* -------------------------------------------------------------- what there is */

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

	if (l->n == MAX_ICDS || !len)
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

static bool ends_in_icd(const char *name)
{
	size_t len = strlen(name);

	return len >= 4 && !strcmp(name + len - 4, ".icd");
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

	if (!d && ends_in_icd(vendors))
		add_file(l, vendors);
	else if (!d && !access(vendors, R_OK))
		add(l, vendors, vendors, strlen(vendors));
	while (d && (e = readdir(d))) {
		char *path = ends_in_icd(e->d_name) ? sherd_asprintf("%s/%s", vendors, e->d_name) :
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

static void read_list(struct icds *l)
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

static void free_list(struct icds *l)
{
	for (int i = 0; i < l->n; i++) {
		free(l->icd[i].file);
		free(l->icd[i].library);
	}
	l->n = 0;
}

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

	i->good = verdict && !strcmp(verdict, GOOD);
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
		sherd_device_verdict_put(i->key, GOOD, NULL);
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
static char *make_folder(const struct icds *l, const bool in[MAX_ICDS])
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

	return sherd_device_child(argv, TIME_LIMIT, err);
}

static bool is_the_drivers(int rc)
{
	return rc == -EBADE || rc == -ETIMEDOUT;
}

/* Beside those that are good: some fail alone, and some make the loader fail where there are more. */
static void try_one(struct icds *l, int one)
{
	struct icd *icd = &l->icd[one];
	struct sherd_error err = { "" };
	bool in[MAX_ICDS];
	char *dir;
	int rc;

	for (int i = 0; i < l->n; i++)
		in[i] = l->icd[i].good || i == one;
	dir = make_folder(l, in);
	rc = dir ? try_child(dir, &err) : -EIO;
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
	if (is_the_drivers(rc) && l->n > 1)
		return false;
	for (int i = 0; i < l->n; i++) {
		l->icd[i].good |= !rc;
		l->icd[i].bad = is_the_drivers(rc);
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
	bool unknown[MAX_ICDS], any = false, done;

	for (int i = 0; i < l->n; i++)
		any |= unknown[i] = is_unknown(&l->icd[i]);
	if (!any)
		return;
	done = try_all(l);
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
	bool in[MAX_ICDS];
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

	read_list(&l);
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
	free_list(&l);
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

	read_list(&l);
	for (int i = 0; i < l.n; i++) {
		char key[SHERD_SHA256_HEX];
		char *path = sherd_device_verdict_path(bad_key(&l.icd[i], key));

		if (path)
			unlink(path);
		free(path);
	}
	free_list(&l);
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

/* ------------------------------------------------------------- in the child */

/* A context, a queue and a buffer: what everybody who opens a device does with it. */
static void try_device(const struct sherd_found *f)
{
	cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)f->platform,
					  0 };
	cl_context context = clCreateContext(props, 1, &f->id, NULL, NULL, NULL);
	const cl_uint bytes[16] = { 0 };
	cl_command_queue queue = NULL;
	cl_mem mem = NULL;

	if (context)
		queue = clCreateCommandQueue(context, f->id, 0, NULL);
	if (queue)
		mem = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof(bytes), NULL, NULL);
	if (mem) {
		clEnqueueWriteBuffer(queue, mem, CL_FALSE, 0, sizeof(bytes), bytes, 0, NULL, NULL);
		clFinish(queue);
		clReleaseMemObject(mem);
	}
	if (queue)
		clReleaseCommandQueue(queue);
	if (context)
		clReleaseContext(context);
}

void sherd_icd_try(const char *vendors, void (*say)(const char *what))
{
	struct sherd_found *found;
	int n;

	if (vendors)
		setenv("OCL_ICD_VENDORS", vendors, 1);
	say("asking what devices there are");
	if (sherd_devices_find(&found, &n, 1, NULL))
		return; /* none, which is no crash */
	for (int i = 0; i < n; i++) {
		char *what = sherd_asprintf("a first buffer on %s", found[i].info.name);

		if (what && found[i].info.usable) {
			say(what);
			try_device(&found[i]);
		}
		free(what);
	}
	sherd_devices_free(found, n);
}
