/* SPDX-License-Identifier: MIT */
/*
 * sentence: why something was refused, or failed, as the other side says it. It ends on somebody's
 * terminal, so what comes from outside is made harmless.
 */
#include <utf8proc.h>
#include "net/message.h"

void sherd_sentence_send(struct sherd_link *l, const struct sherd_frame *f, const char *sentence)
{
	sherd_link_send(l, f, sentence, (uint32_t)strnlen(sentence, SHERD_SENTENCE_MAX - 1));
}

void sherd_sentence_read(char *to, size_t room, const void *from, size_t size)
{
	const utf8proc_uint8_t *at = from, *end = at + size;

	while (at < end) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n = utf8proc_iterate(at, end - at, &c);
		bool fit = n > 0 && c >= ' ' && (c < 0x7f || c > 0x9f);
		size_t bytes = fit ? (size_t)n : 1;

		if (bytes >= room)
			break;
		if (fit)
			memcpy(to, at, bytes);
		else
			*to = '?';
		to += bytes;
		room -= bytes;
		at += n > 0 ? n : 1;
	}
	*to = '\0';
}
