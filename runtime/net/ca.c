/* SPDX-License-Identifier: MIT */
/*
 * ca: makes keys and certificates in memory, all of them, and only then the files. What the
 * certificates say is little: a name, twice, and what the key may be used for.
 */
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/stat.h>
#include <time.h>
#include "net/ca.h"
#include "net/ca_files.h"
#include "net/pem.h"

#define DAY	     ((time_t)86400)
#define BUILT_AFTER  1735689600 /* 2025: a clock that says less has not been set */
#define SERIAL_BYTES 16

struct authority {
	X509 *cert;
	EVP_PKEY *key;
};

static int fail_openssl(struct sherd_error *err, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());
	int rc = sherd_fail(err, -EIO, "%s: OpenSSL: %s", what, why ? why : "no reason is known");

	ERR_clear_error();
	return rc;
}

/* ------------------------------------------------------------- certificates */

static const struct extension {
	int nid;
	const char *value;
} of_authority[] = {
	{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
	{ NID_key_usage, "critical,keyCertSign,cRLSign" },
	{ NID_subject_key_identifier, "hash" },
	{ 0, NULL },
}, of_node[] = {
	{ NID_basic_constraints, "critical,CA:FALSE" },
	{ NID_key_usage, "critical,digitalSignature" },
	{ NID_ext_key_usage, "serverAuth,clientAuth" }, /* a node dials, and is dialled */
	{ NID_subject_key_identifier, "hash" },
	{ NID_authority_key_identifier, "keyid:always" },
	{ 0, NULL },
};

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = e && X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	return ok;
}

static bool add_extensions(X509 *x, X509 *issuer, const struct extension *e)
{
	while (e->nid && add_extension(x, issuer, e->nid, e->value))
		e++;
	return !e->nid;
}

/* Positive, and of no meaning: nobody need remember which were given out. */
static bool set_serial(X509 *x)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *n = NULL;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40;
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return ok;
}

/* From yesterday, since a board's clock may be behind. */
static bool set_times(X509 *x, time_t now, int days)
{
	return ASN1_TIME_adj(X509_getm_notBefore(x), now, -1, 0) &&
	       ASN1_TIME_adj(X509_getm_notAfter(x), now, days, 0);
}

static bool set_name(X509 *x, const char *name)
{
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
					  (const uint8_t *)name, -1, -1, 0);
}

/* Signed by @by; NULL: by itself, an authority. NULL on failure. */
static X509 *make_cert(const char *name, EVP_PKEY *key, const struct authority *by, time_t now,
		       int days)
{
	X509 *x = X509_new(), *issuer = by ? by->cert : x;
	char alt[SHERD_CERT_NAME + 8];

	snprintf(alt, sizeof(alt), "DNS:%s", name);
	if (x && X509_set_version(x, X509_VERSION_3) && set_serial(x) && set_name(x, name) &&
	    X509_set_issuer_name(x, X509_get_subject_name(issuer)) && set_times(x, now, days) &&
	    X509_set_pubkey(x, key) && add_extensions(x, issuer, by ? of_node : of_authority) &&
	    (!by || add_extension(x, issuer, NID_subject_alt_name, alt)) &&
	    X509_sign(x, by ? by->key : key, EVP_sha256()))
		return x;
	X509_free(x);
	return NULL;
}

/* --------------------------------------------------------------------- names */

/* kitchen-key would have its certificate where kitchen has its key. */
static int check_name(const char *name, struct sherd_error *err)
{
	size_t len = strlen(name);

	if (!sherd_cert_name_ok(name))
		return sherd_fail(
			err, -EINVAL,
			"\"%s\" is no name for a node: 1 to %d letters, digits, dots, dashes and "
			"underscores, the first a letter or a digit",
			name, SHERD_CERT_NAME - 1);
	if (!strcmp(name, "ca") || (len >= 4 && !strcmp(name + len - 4, "-key")))
		return sherd_fail(
			err, -EINVAL,
			"\"%s\" is no name for a node: ca.pem is the authority's file, and what "
			"ends in -key.pem a key",
			name);
	return 0;
}

static int check_names(const char *const *names, int n, struct sherd_error *err)
{
	int rc = 0;

	for (int i = 0; !rc && i < n; i++) {
		rc = check_name(names[i], err);
		for (int j = 0; !rc && j < i; j++)
			if (!strcmp(names[i], names[j]))
				rc = sherd_fail(err, -EINVAL,
						"\"%s\" is there twice: each node has a "
						"name of its own",
						names[i]);
	}
	return rc;
}

static int check_clock(time_t now, struct sherd_error *err)
{
	char text[SHERD_CERT_TIME];

	if (now >= BUILT_AFTER)
		return 0;
	sherd_cert_time(now, text);
	return sherd_fail(
		err, -EINVAL,
		"the clock here says %s: set it first, or no other machine accepts what is "
		"made now",
		text);
}

/* ------------------------------------------------------------------- making */

static int add_node(struct sherd_ca_files *f, const char *name, const struct authority *by,
		    time_t now, int days, struct sherd_error *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = key ? make_cert(name, key, by, now, days) : NULL;
	int rc = x ? sherd_ca_files_add(f, name, x, key, err) : fail_openssl(err, name);

	X509_free(x);
	EVP_PKEY_free(key);
	return rc;
}

/* "sherd-7f3a90c2": two clusters' authorities are told apart by it in messages. */
static int make_authority(struct authority *a, time_t now, struct sherd_error *err)
{
	uint32_t random;
	char name[32];

	if (RAND_bytes((uint8_t *)&random, sizeof(random)) != 1)
		return fail_openssl(err, "random numbers");
	snprintf(name, sizeof(name), "sherd-%08x", random);
	a->key = EVP_EC_gen("P-256");
	a->cert = a->key ? make_cert(name, a->key, NULL, now, SHERD_CA_DAYS) : NULL;
	return a->cert ? 0 : fail_openssl(err, "the authority");
}

static int load_authority(struct authority *a, const char *dir, struct sherd_error *err)
{
	char *cert = sherd_asprintf("%s/ca.pem", dir), *key = sherd_asprintf("%s/ca-key.pem", dir);
	STACK_OF(X509) *certs = NULL;
	int rc = -ENOMEM;

	if (!cert || !key)
		goto free_names;
	rc = sherd_pem_read_certs(cert, true, &certs, err);
	if (rc) {
		if (rc == -ENOENT)
			sherd_fail(err, rc,
				   "%s: there is no authority in this folder; sherd cluster "
				   "init -o %s makes one",
				   cert, dir);
		goto free_names;
	}
	rc = sherd_pem_read_key(key, &a->key, err);
	if (rc)
		goto free_certs;
	a->cert = sk_X509_shift(certs);
	if (!X509_check_private_key(a->cert, a->key) || X509_check_ca(a->cert) != 1)
		rc = sherd_fail(err, -EINVAL, "%s: is not the key of the authority in %s", key,
				cert);
	ERR_clear_error();
free_certs:
	sk_X509_pop_free(certs, X509_free);
free_names:
	free(cert);
	free(key);
	return rc == -ENOMEM ? sherd_fail_oom(err, strlen(dir), "file names") : rc;
}

static int check_days(const struct authority *a, time_t now, int days, struct sherd_error *err)
{
	struct sherd_cert c;
	int rc = sherd_cert_read(&c, a->cert, err), left;

	if (rc)
		return rc;
	left = c.until > now ? (int)DIV_ROUND_UP(c.until - now, DAY) : 0; /* the last one counts */
	if (left < 1)
		return sherd_fail(
			err, -EKEYEXPIRED,
			"the authority has expired: make a new one in another folder (sherd "
			"cluster init), and certificates from it for all nodes");
	if (days < 1 || days > left)
		return sherd_fail(err, -ERANGE, "%d days: 1 to %d are possible, then the authority "
				  "itself expires", days, left);
	return 0;
}

static int make_or_load(struct authority *a, struct sherd_ca_files *f, bool make, time_t now,
			int days, struct sherd_error *err)
{
	int rc = make ? make_authority(a, now, err) : load_authority(a, f->dir, err);

	if (!rc)
		rc = check_days(a, now, days, err);
	if (!rc && make)
		rc = sherd_ca_files_add(f, "ca", a->cert, a->key, err);
	return rc;
}

static int make_files(const char *dir, bool init, const char *const *names, int n_names, int days,
		      struct sherd_error *err)
{
	struct sherd_ca_files f;
	struct authority a = { 0 };
	time_t now = time(NULL);
	int rc;

	if (init && mkdir(dir, 0700) && errno != EEXIST)
		return sherd_fail(err, -errno, "%s: cannot make this folder: %s", dir,
				  strerror(errno));
	rc = sherd_ca_files_begin(&f, dir, err);
	if (rc)
		return rc;
	rc = make_or_load(&a, &f, init, now, days, err);
	for (int i = 0; !rc && i < n_names; i++)
		rc = add_node(&f, names[i], &a, now, days, err);
	if (!rc)
		rc = sherd_ca_files_write(&f, err);
	X509_free(a.cert);
	EVP_PKEY_free(a.key);
	sherd_ca_files_end(&f);
	return rc;
}

/* Without this, its key would be the first file that is not overwritten, and nothing to move away. */
static int check_none(const char *dir, struct sherd_error *err)
{
	char *key = sherd_asprintf("%s/ca-key.pem", dir);
	struct stat st;
	int rc = 0;

	if (!key)
		rc = sherd_fail_oom(err, strlen(dir), "a path");
	else if (!lstat(key, &st))
		rc = sherd_fail(err, -EEXIST,
				"%s: there is an authority already; `sherd cluster add` adds nodes",
				dir);
	free(key);
	return rc;
}

int sherd_ca_init(const char *dir, const char *const *names, int n_names, int days,
		  struct sherd_error *err)
{
	int rc = check_names(names, n_names, err);

	if (!rc)
		rc = check_clock(time(NULL), err);
	rc = rc ? rc : check_none(dir, err);
	return rc ? rc : make_files(dir, true, names, n_names, days, err);
}

int sherd_ca_add(const char *dir, const char *const *names, int n_names, int days,
		 struct sherd_error *err)
{
	int rc = check_names(names, n_names, err);

	if (!rc)
		rc = check_clock(time(NULL), err);
	return rc ? rc : make_files(dir, false, names, n_names, days, err);
}
