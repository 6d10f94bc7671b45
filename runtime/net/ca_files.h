/* SPDX-License-Identifier: MIT */
/*
 * ca_files: an authority's files that are about to be made. While it lasts the folder is locked, so
 * that two commands at once do not make the same names.
 */
#ifndef SHERD_CA_FILES_H
#define SHERD_CA_FILES_H

#include <openssl/x509.h>
#include "base/base.h"

struct sherd_ca_files {
	const char *dir;
	int lock;
	struct sherd_ca_file *list; /* in the order in which they are to appear */
	int n;
};

/* -EBUSY where another command is at work in @dir. */
int sherd_ca_files_begin(struct sherd_ca_files *f, const char *dir, struct sherd_error *err);
/* NAME-key.pem and NAME.pem will be; -EEXIST where one of them is. */
int sherd_ca_files_add(struct sherd_ca_files *f, const char *name, X509 *cert, EVP_PKEY *key,
		       struct sherd_error *err);
/* All of them, or none. */
int sherd_ca_files_write(struct sherd_ca_files *f, struct sherd_error *err);
void sherd_ca_files_end(struct sherd_ca_files *f);

#endif
