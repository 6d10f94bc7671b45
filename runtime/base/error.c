/* SPDX-License-Identifier: MIT */
/*
 * error: the sentence that a failing function leaves behind. Names out of files end up in these
 * sentences and the sentences on terminals, so control characters are taken out here, once for all.
 */
#include <stdio.h>
#include "base/base.h"

static void copy_clean(char *dst, const char *src, size_t size)
{
	size_t i;

	for (i = 0; i + 1 < size && src[i]; i++)
		dst[i] = (unsigned char)src[i] < 0x20 || src[i] == 0x7f ? '?' : src[i];
	dst[i] = '\0';
}

/* Through a buffer of its own: err->msg may be among the arguments. */
static void fill(struct sherd_error *err, const char *fmt, va_list ap)
{
	char buf[sizeof(err->msg)];

	if (vsnprintf(buf, sizeof(buf), fmt, ap) >= (int)sizeof(buf))
		memcpy(buf + sizeof(buf) - 4, "...", 4);
	copy_clean(err->msg, buf, sizeof(err->msg));
}

int sherd_fail(struct sherd_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	fill(err, fmt, ap);
	va_end(ap);
	return code;
}

int sherd_fail_prefix(struct sherd_error *err, int code, const char *fmt, ...)
{
	struct sherd_error prefix;
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	fill(&prefix, fmt, ap);
	va_end(ap);
	return sherd_fail(err, code, "%s: %s", prefix.msg, err->msg);
}

int sherd_fail_oom(struct sherd_error *err, size_t bytes, const char *what)
{
	if (bytes >> 20)
		return sherd_fail(err, -ENOMEM, "%s: no memory for %.1f MiB", what,
				  (double)bytes / 1048576.0);
	return sherd_fail(err, -ENOMEM, "%s: no memory for %zu bytes", what, bytes);
}
