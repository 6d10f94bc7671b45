/* SPDX-License-Identifier: MIT */
/* sha256: OpenSSL's SHA-256 (with the CPU's instructions) behind three calls. */
#include <openssl/evp.h>
#include <stdlib.h>
#include "base/base.h"

/*
 * OpenSSL allocates, and may fail (no memory, a provider without SHA-256). The failure sticks, and
 * the sum comes out as "": no file can have that, so comparing it never says "equal" by mistake.
 */
struct sherd_sha256 {
	EVP_MD_CTX *ctx;
	bool failed;
};

struct sherd_sha256 *sherd_sha256_new(void)
{
	struct sherd_sha256 *s = sherd_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ctx = EVP_MD_CTX_new();
	s->failed = !s->ctx || !EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL);
	return s;
}

void sherd_sha256_add(struct sherd_sha256 *s, const void *data, size_t size)
{
	if (s && !s->failed && size)
		s->failed = !EVP_DigestUpdate(s->ctx, data, size);
}

void sherd_sha256_end(struct sherd_sha256 *s, char hex[SHERD_SHA256_HEX])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0, i;

	if (s && !s->failed && !EVP_DigestFinal_ex(s->ctx, sum, &n))
		n = 0;
	for (i = 0; i < n && i < 32; i++) {
		hex[2 * i] = digits[sum[i] >> 4];
		hex[2 * i + 1] = digits[sum[i] & 15];
	}
	hex[2 * i] = '\0';
	if (s)
		EVP_MD_CTX_free(s->ctx);
	free(s);
}

void sherd_sha256(const void *data, size_t size, char hex[SHERD_SHA256_HEX])
{
	struct sherd_sha256 *s = sherd_sha256_new();

	sherd_sha256_add(s, data, size);
	sherd_sha256_end(s, hex);
}
