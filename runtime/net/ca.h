/* SPDX-License-Identifier: MIT */
/*
 * ca: a cluster's own small certificate authority, as files in a folder:
 *
 *	ca.pem ca-key.pem		the authority; its key never leaves the folder
 *	NAME.pem NAME-key.pem		a node; these two and ca.pem go to the board
 *
 * Keys are P-256. Ed25519's are as short and as strong, but here P-256 signs and verifies 1.7 times
 * as fast (OpenSSL has assembly for it, for Arm too), every TLS stack has it, and so has the
 * hardware in which a vendor may want to lock a board's key.
 *
 * Nothing is ever overwritten. What a call makes appears altogether or not at all, short of a loss
 * of power between two renames.
 */
#ifndef SHERD_CA_H
#define SHERD_CA_H

#include "net/cert.h"

#define SHERD_CA_DAYS	   3650 /* for which an authority is valid */
#define SHERD_CA_NODE_DAYS 730

/*
 * Makes @dir if it is missing, in it an authority, and for each of @names a certificate that is
 * valid for @days. -EEXIST where one of the files is there.
 */
int sherd_ca_init(const char *dir, const char *const *names, int n_names, int days,
		  struct sherd_error *err);
/*
 * More certificates from the authority in @dir, which they do not outlive: -ERANGE for more @days.
 */
int sherd_ca_add(const char *dir, const char *const *names, int n_names, int days,
		 struct sherd_error *err);

struct sherd_ca_entry {
	struct sherd_cert cert;
	char file[SHERD_CERT_NAME + 4]; /* without the folder */
	bool has_key; /* its private key lies beside it */
};

/* What is in @dir: the authority, then the nodes in order of their names. free() *@list. */
int sherd_ca_list(const char *dir, struct sherd_ca_entry **list, int *n, struct sherd_error *err);

#endif
