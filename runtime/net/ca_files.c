/* SPDX-License-Identifier: MIT */
/*
 * ca_files: all contents are written under temporary names before the first file gets its own; what
 * has got it is removed again should a later one fail. A key is nobody else's to read at any
 * moment.
 */
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "net/ca_files.h"

struct sherd_ca_file {
	char *path;
	BIO *text;
	mode_t mode;
	struct sherd_outfile out;
};

int sherd_ca_files_begin(struct sherd_ca_files *f, const char *dir, struct sherd_error *err)
{
	int rc;

	*f = (struct sherd_ca_files){ .dir = dir };
	f->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->lock < 0)
		return sherd_fail(err, -errno, "%s: cannot open this folder: %s", dir,
				  strerror(errno));
	if (!flock(f->lock, LOCK_EX | LOCK_NB))
		return 0;
	rc = errno == EWOULDBLOCK
		     ? sherd_fail(err, -EBUSY, "%s: another sherd cluster is at work here", dir)
		     : sherd_fail(err, -errno, "%s: cannot lock it: %s", dir, strerror(errno));
	close(f->lock);
	return rc;
}

/* A file that is to be, of what is written to *@text. */
static int add_file(struct sherd_ca_files *f, const char *name, const char *suffix, mode_t mode,
		    BIO **text, struct sherd_error *err)
{
	struct sherd_ca_file *more = realloc(f->list, (size_t)(f->n + 1) * sizeof(*more)), *file;
	struct stat st;

	if (!more)
		return sherd_fail_oom(err, sizeof(*more), name);
	f->list = more;
	file = &more[f->n++];
	*file = (struct sherd_ca_file){ .mode = mode, .out = { .fd = -1 } };
	file->path = sherd_asprintf("%s/%s%s", f->dir, name, suffix);
	file->text = *text = BIO_new(BIO_s_mem());
	if (!file->path || !file->text)
		return sherd_fail_oom(err, sizeof(*file), name);
	if (lstat(file->path, &st) && errno == ENOENT)
		return 0;
	return sherd_fail(
		err, -EEXIST,
		"%s: is there already and is not overwritten; to renew a certificate, first "
		"move it and its key away",
		file->path);
}

/* The key first: where there is a certificate, its key is there too. */
int sherd_ca_files_add(struct sherd_ca_files *f, const char *name, X509 *cert, EVP_PKEY *key,
		       struct sherd_error *err)
{
	BIO *text;
	int rc = add_file(f, name, "-key.pem", 0600, &text, err);

	if (!rc && !PEM_write_bio_PKCS8PrivateKey(text, key, NULL, NULL, 0, NULL, NULL))
		rc = sherd_fail_oom(err, BIO_ctrl_pending(text), name);
	if (!rc)
		rc = add_file(f, name, ".pem", 0644, &text, err);
	if (!rc && !PEM_write_bio_X509(text, cert))
		rc = sherd_fail_oom(err, BIO_ctrl_pending(text), name);
	return rc;
}

static int write_one(struct sherd_ca_file *file, struct sherd_error *err)
{
	char *text;
	long size = BIO_get_mem_data(file->text, &text);
	int rc = sherd_outfile_open(&file->out, file->path, err);

	if (rc)
		return rc;
	if (fchmod(file->out.fd, file->mode))
		return sherd_fail(err, -errno, "%s: cannot set its mode: %s", file->path,
				  strerror(errno));
	return sherd_write_all(file->out.fd, text, (size_t)size, file->path, err);
}

int sherd_ca_files_write(struct sherd_ca_files *f, struct sherd_error *err)
{
	int rc = 0, n_there = 0;

	for (int i = 0; !rc && i < f->n; i++)
		rc = write_one(&f->list[i], err);
	while (!rc && n_there < f->n) {
		rc = sherd_outfile_commit(&f->list[n_there].out, err);
		n_there += !rc;
	}
	while (rc && n_there > 0)
		unlink(f->list[--n_there].path);
	return rc;
}

void sherd_ca_files_end(struct sherd_ca_files *f)
{
	for (int i = 0; i < f->n; i++) {
		sherd_outfile_abort(&f->list[i].out);
		BIO_free(f->list[i].text);
		free(f->list[i].path);
	}
	free(f->list);
	close(f->lock);
}
