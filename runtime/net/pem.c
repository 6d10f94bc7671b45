/* SPDX-License-Identifier: MIT */
/* pem: opens, checks, parses. A passphrase is not asked for: a board starts without a person. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>
#include "net/pem.h"

#define MAX_FILE ((size_t)1 << 20)

/*
 * As PostgreSQL has it: the owner alone reads it, or it is root's and a group that root chose reads
 * it.
 */
static int check_secret(const struct stat *st, const char *path, struct sherd_error *err)
{
	unsigned mode = st->st_mode & 07777;

	if (st->st_uid != geteuid() && st->st_uid != 0)
		return sherd_fail(
			err, -EPERM,
			"%s: belongs to user %u, who could read and change this key: chown it",
			path, st->st_uid);
	if (mode & (st->st_uid == geteuid() ? 077 : 027))
		return sherd_fail(err, -EPERM,
				  "%s: others can read this private key (mode %04o): chmod 600 %s",
				  path, mode, path);
	return 0;
}

/* Who can write it can let in whom he likes. */
static int check_trust(const struct stat *st, const char *path, struct sherd_error *err)
{
	unsigned mode = st->st_mode & 07777;

	if (st->st_uid != geteuid() && st->st_uid != 0)
		return sherd_fail(err, -EPERM,
				  "%s: belongs to user %u, who could let anybody into the cluster: "
				  "chown it",
				  path, st->st_uid);
	if (mode & 022)
		return sherd_fail(err, -EPERM,
				  "%s: others can write it (mode %04o), and let anybody into the "
				  "cluster: chmod go-w %s",
				  path, mode, path);
	return 0;
}

typedef int (*check_file)(const struct stat *st, const char *path, struct sherd_error *err);

static int open_pem(const char *path, check_file check, struct sherd_map *m, BIO **bio,
		    struct sherd_error *err)
{
	struct stat st;
	int rc = sherd_map_open(m, path, err);

	*bio = NULL;
	if (rc)
		return rc;
	if (fstat(m->fd, &st))
		rc = sherd_fail(err, -errno, "%s: cannot look at it: %s", path, strerror(errno));
	else if (m->size > MAX_FILE)
		rc = sherd_fail(err, -EFBIG, "%s: %zu bytes are too many for certificates or a key",
				path, m->size);
	else if (check)
		rc = check(&st, path, err);
	if (rc)
		goto close_map;
	*bio = BIO_new_mem_buf(m->size ? (const void *)m->data : "", (int)m->size);
	if (*bio)
		return 0;
	rc = sherd_fail_oom(err, m->size, path);
close_map:
	sherd_map_close(m);
	return rc;
}

static void close_pem(struct sherd_map *m, BIO *bio)
{
	BIO_free(bio);
	sherd_map_close(m);
	ERR_clear_error(); /* to OpenSSL a file's end is an error */
}

int sherd_pem_read_certs(const char *path, bool trust, STACK_OF(X509) **certs,
			 struct sherd_error *err)
{
	struct sherd_map m;
	X509 *x = NULL;
	BIO *bio;
	int rc = open_pem(path, trust ? check_trust : NULL, &m, &bio, err);

	*certs = NULL;
	if (rc)
		return rc;
	*certs = sk_X509_new_null();
	while (*certs && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		if (!sk_X509_push(*certs, x))
			break;
	if (!*certs || x) /* x: read, but not taken */
		rc = sherd_fail_oom(err, m.size, path);
	else if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		rc = sherd_fail(err, -EINVAL, "%s: certificate %d in it is damaged", path,
				sk_X509_num(*certs) + 1);
	else if (!sk_X509_num(*certs))
		rc = sherd_fail(err, -EINVAL, "%s: holds no certificate in PEM form", path);
	X509_free(x);
	close_pem(&m, bio);
	if (rc) {
		sk_X509_pop_free(*certs, X509_free);
		*certs = NULL;
	}
	return rc;
}

static int no_passphrase(char *buf, int size, int writing, void *asked)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

int sherd_pem_read_key(const char *path, EVP_PKEY **key, struct sherd_error *err)
{
	bool asked = false;
	struct sherd_map m;
	BIO *bio;
	int rc = open_pem(path, check_secret, &m, &bio, err);

	*key = NULL;
	if (rc)
		return rc;
	*key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	if (!*key && asked)
		rc = sherd_fail(err, -EINVAL,
				"%s: the key has a passphrase, which nobody can type when a board "
				"starts: openssl pkey -in %s takes it off",
				path, path);
	else if (!*key)
		rc = sherd_fail(err, -EINVAL, "%s: holds no private key in PEM form", path);
	close_pem(&m, bio);
	return rc;
}
