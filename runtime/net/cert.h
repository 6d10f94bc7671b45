/* SPDX-License-Identifier: MIT */
/*
 * cert: what a certificate says of its owner, in our terms. A node is known by one name: the
 * certificate's dNSName or, where it has none, its common name. Names are compared letter by
 * letter, and there are no wildcards: a cluster's nodes are few and all known.
 */
#ifndef SHERD_CERT_H
#define SHERD_CERT_H

#include <openssl/types.h>
#include "base/base.h"

#define SHERD_CERT_NAME 64 /* with the NUL */
#define SHERD_CERT_TIME 32

struct sherd_cert {
	char name[SHERD_CERT_NAME]; /* "": it has none that a node could have */
	char fingerprint[SHERD_SHA256_HEX]; /* SHA-256 of the certificate's bytes */
	int64_t from, until; /* seconds since 1970, in UTC */
	bool authority; /* may sign others */
};

/* 1 to 63 letters, digits, dots, dashes and underscores, the first a letter or a digit. */
bool sherd_cert_name_ok(const char *name);
/* -EINVAL for a certificate whose times cannot be read. */
int sherd_cert_read(struct sherd_cert *c, const X509 *x, struct sherd_error *err);
/* Is @name one of its names? Where there are dNSNames the common name does not count. */
bool sherd_cert_has_name(const X509 *x, const char *name);
/* "2026-11-21 18:30 UTC" */
void sherd_cert_time(int64_t t, char out[SHERD_CERT_TIME]);

#endif
