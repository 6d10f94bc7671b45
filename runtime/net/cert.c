/* SPDX-License-Identifier: MIT */
/*
 * cert: names, times and fingerprint of a certificate, which may be anybody's: nothing in it is
 * trusted.
 */
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>
#include "net/cert.h"

static bool is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool sherd_cert_name_ok(const char *name)
{
	size_t i;

	for (i = 0; name[i]; i++)
		if (!is_letter_or_digit(name[i]) && (!i || !strchr("._-", name[i])))
			return false;
	return i > 0 && i < SHERD_CERT_NAME;
}

/* Copies a string that may hold anything, NULs too; false where that is no name of ours. */
static bool copy_name(char out[SHERD_CERT_NAME], const ASN1_STRING *s)
{
	int len = s ? ASN1_STRING_length(s) : 0;

	out[0] = '\0';
	if (len <= 0 || len >= SHERD_CERT_NAME || memchr(ASN1_STRING_get0_data(s), 0, (size_t)len))
		return false;
	memcpy(out, ASN1_STRING_get0_data(s), (size_t)len);
	out[len] = '\0';
	if (sherd_cert_name_ok(out))
		return true;
	out[0] = '\0';
	return false;
}

static bool common_name(const X509 *x, char out[SHERD_CERT_NAME])
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	out[0] = '\0';
	return i >= 0 && copy_name(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
}

/* The name that is @wanted, or with NULL the first; @out: "" where there is none. */
static bool find_name(const X509 *x, const char *wanted, char out[SHERD_CERT_NAME])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool any = false, found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

		if (n->type != GEN_DNS)
			continue;
		any = true;
		found = copy_name(out, n->d.dNSName) && (!wanted || !strcmp(out, wanted));
	}
	GENERAL_NAMES_free(names);
	if (!any)
		found = common_name(x, out) && (!wanted || !strcmp(out, wanted));
	if (!found)
		out[0] = '\0';
	return found;
}

bool sherd_cert_has_name(const X509 *x, const char *name)
{
	char found[SHERD_CERT_NAME];

	return find_name(x, name, found);
}

static bool read_time(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (!t || !ASN1_TIME_to_tm(t, &tm))
		return false;
	*out = timegm(&tm);
	return true;
}

int sherd_cert_read(struct sherd_cert *c, const X509 *x, struct sherd_error *err)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	*c = (struct sherd_cert){ 0 };
	if (!read_time(X509_get0_notBefore(x), &c->from) ||
	    !read_time(X509_get0_notAfter(x), &c->until))
		return sherd_fail(err, -EINVAL, "a certificate's times cannot be read");
	if (!X509_digest(x, EVP_sha256(), sum, &n) || n != (SHERD_SHA256_HEX - 1) / 2)
		return sherd_fail(err, -ENOMEM, "a certificate's fingerprint cannot be made");
	for (unsigned i = 0; i < n; i++)
		snprintf(c->fingerprint + 2 * i, 3, "%02x", sum[i]);
	c->authority = X509_check_ca((X509 *)x) == 1;
	find_name(x, NULL, c->name);
	return 0;
}

void sherd_cert_time(int64_t t, char out[SHERD_CERT_TIME])
{
	time_t seconds = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || !strftime(out, SHERD_CERT_TIME, "%Y-%m-%d %H:%M UTC", &tm))
		snprintf(out, SHERD_CERT_TIME, "another age");
}
