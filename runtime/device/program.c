/* SPDX-License-Identifier: MIT */
/*
 * program: builds programs from the embedded sources (source.c) and keeps their binaries, with a hash
 * in front: damaged binaries have been seen to crash drivers, so they must not reach one. PoCL has a
 * cache of its own too (pocl.c); a kept binary still saves it reading the program's LLVM code: 5
 * MB and 50 ms.
 *
 * Whole binaries crash drivers, too. So a device has a *mark* in the cache while a process has its
 * driver take one: a mark that nobody holds is left of a process that did not survive, and the
 * device's binaries are not touched again. The first to have one taken is who made it, which is the
 * child that tests the device.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/trace.h"
#include "device/query.h"

#define BINARY_MAX (256u << 20)

void sherd_device_key(const struct sherd_device *dev, const char *text, char hex[SHERD_SHA256_HEX])
{
	char platform[256] = ""; /* PoCL's names its LLVM */
	const char *parts[] = { SHERD_VERSION,
				sherd_icd_identity(),
				dev->info.platform,
				platform,
				dev->info.name,
				dev->info.version,
				dev->info.driver,
				dev->dot,
				dev->shape == SHERD_SHAPE_WIDE ? "wide" : "simt",
				text };
	struct sherd_sha256 *s = sherd_sha256_new();

	clGetPlatformInfo(dev->platform, CL_PLATFORM_VERSION, sizeof(platform) - 1, platform, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		sherd_sha256_add(s, parts[i], strlen(parts[i]) + 1);
	sherd_sha256_end(s, hex);
}

/* ------------------------------------------------------------------- marks */

/*
 * ONCE: a process ended that had the driver take a kept binary. TWICE: and another, or the child that
 * first tried one. AGAIN: after ONCE a child has tried new ones, and lived.
 */
enum { ONCE = 1, TWICE, AGAIN };

struct mark {
	char *path; /* NULL: there is none */
	int fd;
};

static void free_mark(struct mark *m)
{
	if (m->fd >= 0)
		close(m->fd);
	free(m->path);
	*m = (struct mark){ .fd = -1 };
}

/* Who held it before may have dropped it while this process waited: then it marks nothing. */
static bool is_dropped(const struct mark *m)
{
	struct stat held, there;

	return fstat(m->fd, &held) || stat(m->path, &there) || held.st_dev != there.st_dev ||
	       held.st_ino != there.st_ino;
}

/*
 * Takes hold of the device's mark, and returns what it says: 0 if it is new; -1: there is no mark
 * (where @flags have no O_CREAT), or, with LOCK_NB, a living process has it.
 */
static int hold_mark(struct mark *m, const struct sherd_device *dev, int flags, int lock)
{
	char key[SHERD_SHA256_HEX], digit = '0';

	sherd_device_key(dev, "binaries", key);
	m->path = sherd_device_cache_path(key, ".try");
	for (;;) {
		m->fd = m->path ? open(m->path, O_RDWR | O_CLOEXEC | flags, 0600) : -1;
		if (m->fd < 0 || flock(m->fd, LOCK_EX | lock)) {
			free_mark(m);
			return -1;
		}
		if (!is_dropped(m))
			break;
		close(m->fd);
	}
	if (read(m->fd, &digit, 1) != 1)
		digit = '0';
	return digit >= '0' && digit <= '0' + AGAIN ? digit - '0' : ONCE;
}

/* Should this process end now, that is what the next one finds. */
static void set_mark(struct mark *m, int state)
{
	const char digit = (char)('0' + state);

	if (m->path && pwrite(m->fd, &digit, 1, 0) == 1)
		sherd_leftover_add(m->path); /* a signal is nobody's fault */
}

static void drop_mark(struct mark *m)
{
	if (m->path) {
		sherd_leftover_drop(m->path);
		unlink(m->path);
	}
	free_mark(m);
}

bool sherd_device_mark_forget(const char *path)
{
	struct mark m = { .path = strdup(path), .fd = open(path, O_RDWR | O_CLOEXEC) };
	char digit = 0;
	bool changes = m.path && m.fd >= 0 && !flock(m.fd, LOCK_EX | LOCK_NB) && !is_dropped(&m) &&
		       pread(m.fd, &digit, 1, 0) == 1 && digit == '0' + TWICE;

	if (changes) {
		digit = '0' + ONCE;
		changes = pwrite(m.fd, &digit, 1, 0) == 1;
	}
	free_mark(&m);
	return changes;
}

/* --------------------------------------------------------- kept binaries */

/* A kept binary: 64 hex digits of its hash, then its bytes. */
static cl_program load_binary(struct sherd_device *dev, const char *key, const char *options)
{
	SHERD_TRACE_SCOPE("kept binary", options);
	char *path = sherd_device_cache_path(key, ".bin");
	char hex[SHERD_SHA256_HEX];
	char *data = NULL;
	cl_program program = NULL;
	cl_int code, status = CL_SUCCESS;
	size_t size;

	if (!path || sherd_read_file(path, BINARY_MAX, &data, &size, NULL))
		goto out;
	if (size > SHERD_SHA256_HEX - 1) {
		const unsigned char *bytes = (const unsigned char *)data + SHERD_SHA256_HEX - 1;

		size -= SHERD_SHA256_HEX - 1;
		sherd_sha256(bytes, size, hex);
		if (!memcmp(hex, data, SHERD_SHA256_HEX - 1))
			program = clCreateProgramWithBinary(dev->context, 1, &dev->id, &size,
							    &bytes, &status, &code);
	}
	if (program && (status || clBuildProgram(program, 1, &dev->id, options, NULL, NULL))) {
		clReleaseProgram(program);
		program = NULL;
	}
	free(data);
out:
	free(path);
	return program;
}

static int write_binary(cl_program program, const char *key, struct sherd_error *err)
{
	char *path = sherd_device_cache_path(key, ".bin");
	char hex[SHERD_SHA256_HEX];
	struct sherd_outfile out;
	unsigned char *data = NULL;
	size_t size = 0;
	int ret;

	if (!path)
		return sherd_fail(err, -ENOENT,
				  "no cache folder: the compiled kernels are not kept");
	if (!clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL) &&
	    size && size <= BINARY_MAX)
		data = malloc(size);
	if (!data || clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(data), &data, NULL)) {
		ret = sherd_fail(err, -EIO, "the driver doesn't give its compiled kernels away");
		goto out;
	}
	ret = sherd_outfile_open(&out, path, err);
	if (ret)
		goto out;
	sherd_sha256(data, size, hex);
	ret = sherd_write_all(out.fd, hex, SHERD_SHA256_HEX - 1, path, err);
	if (!ret)
		ret = sherd_write_all(out.fd, data, size, path, err);
	if (ret)
		sherd_outfile_abort(&out);
	else
		ret = sherd_outfile_commit(&out, err);
out:
	free(data);
	free(path);
	return ret;
}

/* -------------------------------------------------------------- compiling */

/* The first line of the build log that speaks of an error, else its first line. */
static int fail_build(cl_program program, cl_device_id id, cl_int code, const char *name,
		      struct sherd_error *err)
{
	size_t size = 0;
	char *log, *line;
	int ret;

	if (clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) ||
	    size > 1 << 24)
		size = 0;
	log = sherd_calloc(size + 1, 1);
	if (log && size)
		clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, size, log, NULL);
	if (!log || !*log) {
		ret = sherd_fail_cl(
			err, code, "%s: the device's compiler failed, and says nothing more", name);
		goto out;
	}
	line = strcasestr(log, "error");
	if (!line)
		line = log;
	while (line > log && line[-1] != '\n')
		line--;
	line += strspn(line, " \t\r\n");
	line[strcspn(line, "\r\n")] = 0;
	ret = sherd_fail(err, -ENOEXEC, "%s: the device's compiler says: %s", name, line);
out:
	free(log);
	return ret;
}

static int build_source(struct sherd_device *dev, const char *text, const char *options,
			const char *name, cl_program *program, struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("compile", options);
	cl_int code;
	int ret;

	*program = clCreateProgramWithSource(dev->context, 1, &text, NULL, &code);
	if (code) {
		*program = NULL;
		return sherd_fail_cl(err, code, "%s: no program", name);
	}
	code = clBuildProgram(*program, 1, &dev->id, options, NULL, NULL);
	if (!code)
		return 0;
	ret = fail_build(*program, dev->id, code, name, err);
	clReleaseProgram(*program);
	*program = NULL;
	return ret;
}

/* cl_khr_integer_dot_product's functions are there from OpenCL C 3.0 on only. */
static char *all_options(const struct sherd_device *dev, const char *options)
{
	return sherd_asprintf(
		"-cl-std=%s -D%s=1 %s%s%s", !strcmp(dev->dot, "khr") ? "CL3.0" : "CL1.2",
		dev->shape == SHERD_SHAPE_WIDE ? "SHERD_SHAPE_WIDE" : "SHERD_SHAPE_SIMT",
		sherd_dot_option(dev->dot), options && *options ? " " : "", options ? options : "");
}

/* What a build is made of; free_recipe() frees the strings. */
struct recipe {
	char *text, *options;
	char key[SHERD_SHA256_HEX];
};

static void free_recipe(struct recipe *r)
{
	free(r->text);
	free(r->options);
}

static int make_recipe(struct recipe *r, const struct sherd_device *dev, const char *options,
		       const char *const *sources, int n_sources, struct sherd_error *err)
{
	char *keyed;

	r->options = NULL;
	r->text = sherd_device_source(sources, n_sources, err);
	if (!r->text)
		return -ENOENT;
	r->options = all_options(dev, options);
	keyed = r->options ? sherd_asprintf("%s\n%s", r->options, r->text) : NULL;
	if (!keyed) {
		free_recipe(r);
		return sherd_fail_oom(err, 1, "a program's source");
	}
	sherd_device_key(dev, keyed, r->key);
	free(keyed);
	return 0;
}

/* Writes the binary, and has the driver take it back: what it can't is not kept. */
static int keep_binary(struct sherd_device *dev, const struct recipe *r, cl_program program,
		       struct sherd_error *err)
{
	struct mark m;
	int was = hold_mark(&m, dev, O_CREAT, 0), ret;
	cl_program again;
	char *path;

	if (was == TWICE) {
		free_mark(&m);
		return sherd_fail(err, -EIO, "%s: its driver does not survive its own binaries",
				  dev->info.name);
	}
	set_mark(&m, TWICE);
	ret = write_binary(program, r->key, err);
	again = ret ? NULL : load_binary(dev, r->key, r->options);
	if (again) {
		clReleaseProgram(again);
	} else if (!ret) {
		path = sherd_device_cache_path(r->key, ".bin");
		if (path)
			unlink(path);
		free(path);
	}
	if (was != ONCE && was != AGAIN) {
		drop_mark(&m);
		return ret;
	}
	set_mark(&m, AGAIN);
	sherd_leftover_drop(m.path);
	free_mark(&m);
	return ret;
}

/*
 * From the cache, or from source. The parent sees how this ends for a child: it leaves no mark, and
 * finds out with keep_binary() what a binary is worth.
 */
static int make_program(struct sherd_device *dev, const struct recipe *r, const char *name,
			cl_program *program, struct sherd_error *err)
{
	bool child = sherd_device_is_child();
	struct mark m;
	int was = hold_mark(&m, dev, child ? 0 : O_CREAT, LOCK_NB);
	bool stumbled = was == ONCE || was == TWICE;

	*program = NULL;
	if (!stumbled) {
		if (!child)
			set_mark(&m, was == AGAIN ? TWICE : ONCE);
		*program = load_binary(dev, r->key, r->options);
		if (child)
			free_mark(&m);
		else
			drop_mark(&m);
	}
	free_mark(&m);
	return *program ? 0 : build_source(dev, r->text, r->options, name, program, err);
}

int sherd_device_build(struct sherd_device *dev, const char *options, const char *const *sources,
		       int n_sources, cl_program *program, struct sherd_error *err)
{
	const char *name = n_sources ? sources[n_sources - 1] : "(empty)";
	SHERD_TRACE_SCOPE("build", name);
	struct recipe r;
	int ret = make_recipe(&r, dev, options, sources, n_sources, err);

	*program = NULL;
	if (ret)
		return ret;
	ret = make_program(dev, &r, name, program, err);
	free_recipe(&r);
	return ret;
}

int sherd_device_keep(struct sherd_device *dev, const char *options, const char *const *sources,
		      int n_sources, cl_program program, struct sherd_error *err)
{
	struct recipe r;
	int ret = make_recipe(&r, dev, options, sources, n_sources, err);

	if (ret)
		return ret;
	ret = keep_binary(dev, &r, program, err);
	free_recipe(&r);
	return ret;
}

int sherd_device_stumbles(const struct sherd_device *dev)
{
	struct mark m;
	int n = hold_mark(&m, dev, 0, LOCK_NB);

	free_mark(&m);
	return n == ONCE || n == TWICE ? n : 0;
}
