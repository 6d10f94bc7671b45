/* SPDX-License-Identifier: MIT */
/*
 * store: one thread does the jobs, in order. A file that is coming is ".NAME.HASH.part": so that it
 * can be gone on with after a broken link, a reboot, or both, and never be taken for one that is
 * whole, or for another version.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/base.h"
#include "store.h"
#include "tool.h"

#define HASH_PIECE (1u << 20)

struct store {
	struct sherd_store base;
	char *dir;
	int (*post)(void *loop, void (*fn)(void *), void *arg);
	void *loop;
	pthread_t thread;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t more;
	struct sherd_store_job *first, *last;
	bool stop;
};

/* A file that is coming. */
struct part {
	int fd;
	char *path, *final;
	struct sherd_sha256 *sha;
	uint64_t n;
	struct sherd_error failed; /* why a piece could not be written; "": all could */
};

static void free_part(struct part *p)
{
	char hex[SHERD_SHA256_HEX];

	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd); /* and its lock */
	if (p->sha)
		sherd_sha256_end(p->sha, hex);
	free(p->path);
	free(p->final);
	free(p);
}

/* Adds the bytes of an open file to @sha; their number, or -errno. */
static int64_t hash_file(int fd, struct sherd_sha256 *sha)
{
	uint8_t *buf = malloc(HASH_PIECE);
	int64_t total = 0;
	ssize_t n = 0;

	if (!buf)
		return -ENOMEM;
	while ((n = pread(fd, buf, HASH_PIECE, total)) > 0) {
		sherd_sha256_add(sha, buf, (size_t)n);
		total += n;
	}
	if (n < 0)
		total = -errno;
	free(buf);
	return total;
}

/* Is the whole file there already? */
static bool is_there(const char *path, const struct sherd_offer *o)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct sherd_sha256 *sha = NULL;
	char hex[SHERD_SHA256_HEX] = "";
	struct stat st;

	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == o->size)
		sha = sherd_sha256_new();
	if (sha) {
		hash_file(fd, sha);
		sherd_sha256_end(sha, hex);
	}
	close(fd);
	return !strcmp(hex, o->sha256);
}

static int check_room(const struct store *s, uint64_t lacks, struct sherd_error *err)
{
	struct statvfs v;
	uint64_t room;

	if (statvfs(s->dir, &v))
		return 0;
	room = (uint64_t)v.f_bavail * v.f_frsize;
	if (lacks <= room)
		return 0;
	return sherd_fail(err, -ENOSPC,
			  "%s: %s are needed and %s are free; remove shards there that no plan "
			  "uses, or make room otherwise",
			  s->dir, tool_bytes(lacks), tool_bytes(room));
}

static int open_part(const struct store *s, struct part *p, const struct sherd_offer *o,
		     struct sherd_error *err)
{
	int64_t n;

	p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (p->fd < 0)
		return sherd_fail(err, -errno, "%s: can't be written: %s", p->path,
				  strerror(errno));
	if (flock(p->fd, LOCK_EX | LOCK_NB))
		return sherd_fail(err, -EBUSY, "%s is on its way already", o->name);
	n = hash_file(p->fd, p->sha);
	if (n < 0)
		return sherd_fail(err, (int)n, "%s: can't be read: %s", p->path, strerror((int)-n));
	p->n = (uint64_t)n;
	if (p->n > o->size)
		return sherd_fail(err, -EFBIG, "%s has more bytes than what is offered: remove it",
				  p->path);
	return check_room(s, o->size - p->n, err);
}

static int offer(struct store *s, struct sherd_store_job *job)
{
	const struct sherd_offer *o = &job->offer;
	struct part *p = sherd_calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return sherd_fail_oom(&job->err, sizeof(*p), "a file");
	p->fd = -1;
	p->final = sherd_asprintf("%s/%s", s->dir, o->name);
	p->path = sherd_asprintf("%s/.%s.%.16s.part", s->dir, o->name, o->sha256);
	p->sha = sherd_sha256_new();
	if (!p->final || !p->path || !p->sha) {
		free_part(p);
		return sherd_fail_oom(&job->err, SHERD_FILE_NAME, "a file");
	}
	job->whole = is_there(p->final, o);
	if (job->whole) {
		job->have = o->size;
		free_part(p);
		return 0;
	}
	rc = open_part(s, p, o, &job->err);
	if (rc) {
		free_part(p);
		return rc;
	}
	job->have = p->n;
	job->file = p;
	return 0;
}

/*
 * Pieces are under way behind one that fails, and there may be room again when their turn comes:
 * they would stand where it should. What was written of it is right, and stays.
 */
static int write_piece(struct sherd_store_job *job)
{
	struct part *p = job->file;
	size_t done = 0;
	ssize_t n;

	if (p->failed.msg[0]) {
		job->err = p->failed;
		return -EIO;
	}
	while (done < job->size) {
		n = pwrite(p->fd, (const char *)job->data + done, job->size - done, (off_t)p->n);
		if (n <= 0) {
			int rc = n ? -errno : -EIO;

			sherd_fail(&p->failed, rc, "%s: can't be written: %s", p->path,
				   strerror(-rc));
			job->err = p->failed;
			return rc;
		}
		sherd_sha256_add(p->sha, (const char *)job->data + done, (size_t)n);
		done += (size_t)n;
		p->n += (uint64_t)n;
	}
	return 0;
}

static int appear(const struct store *s, struct part *p, struct sherd_error *err)
{
	int dir;

	if (fsync(p->fd) || rename(p->path, p->final))
		return sherd_fail(err, -errno, "%s: can't be written: %s", p->final,
				  strerror(errno));
	dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		fsync(dir); /* so that the name outlives a power cut, too */
		close(dir);
	}
	return 0;
}

static int finish(const struct store *s, struct sherd_store_job *job)
{
	struct part *p = job->file;
	char hex[SHERD_SHA256_HEX];
	int rc;

	sherd_sha256_end(p->sha, hex);
	p->sha = NULL;
	job->have = p->n;
	if (strcmp(hex, job->offer.sha256)) {
		unlink(p->path);
		rc = sherd_fail(&job->err, -EBADMSG,
				"%s: what has come has the hash %.16s... and not %.16s...; "
				"push it again",
				job->offer.name, hex, job->offer.sha256);
	} else {
		rc = appear(s, p, &job->err);
		job->whole = !rc;
	}
	free_part(p);
	return rc;
}

static void do_job(struct store *s, struct sherd_store_job *job)
{
	switch (job->kind) {
	case SHERD_STORE_OFFER:
		job->rc = offer(s, job);
		break;
	case SHERD_STORE_WRITE:
		job->rc = write_piece(job);
		break;
	case SHERD_STORE_FINISH:
		job->rc = finish(s, job);
		break;
	case SHERD_STORE_DROP:
		free_part(job->file);
	}
}

static void call_done(void *arg)
{
	struct sherd_store_job *job = arg;

	job->done(job->ctx, job);
}

static struct sherd_store_job *next_job(struct store *s)
{
	struct sherd_store_job *job;

	pthread_mutex_lock(&s->lock);
	while (!s->first && !s->stop)
		pthread_cond_wait(&s->more, &s->lock);
	job = s->stop ? NULL : s->first;
	if (job)
		s->first = job->next;
	pthread_mutex_unlock(&s->lock);
	return job;
}

static void *work(void *arg)
{
	struct store *s = arg;
	struct sherd_store_job *job;

	while ((job = next_job(s))) {
		do_job(s, job);
		/* without memory for that nobody can be told: the link's silence will end it */
		s->post(s->loop, call_done, job);
	}
	return NULL;
}

static void submit(struct sherd_store *base, struct sherd_store_job *job)
{
	struct store *s = (struct store *)base;

	job->next = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->first)
		s->last->next = job;
	else
		s->first = job;
	s->last = job;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
}

int store_open(struct store **store, const char *dir,
	       int (*post)(void *loop, void (*fn)(void *), void *arg), void *loop,
	       struct sherd_error *err)
{
	struct store *s = sherd_calloc(1, sizeof(*s));
	struct stat st;
	int rc = 0;

	*store = NULL;
	if (!s)
		return sherd_fail_oom(err, sizeof(*s), "a store");
	s->base.submit = submit;
	s->post = post;
	s->loop = loop;
	s->dir = strdup(dir);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	if (mkdir(dir, 0755) && errno != EEXIST)
		rc = sherd_fail(err, -errno, "%s: can't be made: %s", dir, strerror(errno));
	else if (stat(dir, &st) || !S_ISDIR(st.st_mode))
		rc = sherd_fail(err, -ENOTDIR, "%s is no folder", dir);
	else if (!s->dir)
		rc = sherd_fail_oom(err, strlen(dir), "a store");
	if (!rc && pthread_create(&s->thread, NULL, work, s))
		rc = sherd_fail(err, -EAGAIN, "no thread can be had for writing shards");
	if (rc) {
		free(s->dir);
		free(s);
		return rc;
	}
	*store = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->more);
	free(s->dir);
	free(s);
}

struct sherd_store *store_of(struct store *s)
{
	return &s->base;
}
