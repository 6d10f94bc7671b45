/* SPDX-License-Identifier: MIT */
/*
 * pem: certificates and private keys from files in PEM form. Who could have changed such a file, or
 * read it, is a part of what it is worth: that is looked at on the descriptor that is then read.
 */
#ifndef SHERD_PEM_H
#define SHERD_PEM_H

#include <openssl/x509.h>
#include "base/base.h"

/*
 * All certificates of a file, one at least. @trust: whoever is in it will be believed, so nobody
 * but root and us may have written it. Free with sk_X509_pop_free(, X509_free).
 */
int sherd_pem_read_certs(const char *path, bool trust, STACK_OF(X509) **certs,
			 struct sherd_error *err);
/*
 * A key that others could have read is refused, and so is one with a passphrase. EVP_PKEY_free()
 * it.
 */
int sherd_pem_read_key(const char *path, EVP_PKEY **key, struct sherd_error *err);

#endif
