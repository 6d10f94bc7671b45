/* SPDX-License-Identifier: MIT */
/* chat: what the files of `sherd chat` share. */
#ifndef SHERD_TOOL_CHAT_H
#define SHERD_TOOL_CHAT_H

#include <sys/stat.h>
#include "prompt.h"
#include "run.h"
#include "talk.h"

struct chat {
	struct run run; /* of one answer after the other, all in one session */
	struct sherd_chat *template;
	struct talk talk;
	struct prompt *prompt;
	uint64_t seed; /* of the first try at an answer; another try has the next */
	const char *session_file; /* NULL: none */
	struct sherd_session *nothing; /* at position 0: the file without a KV cache */
	char *kept; /* the messages that are in the file */
	struct stat seen; /* the file, as it was left; st_ino 0: it was not */
	bool behind; /* the file has these, and no KV cache of them yet */
	bool quit;
};

/* An answer to the talk, which ends with a question. TOOL_OK, or an exit code: that is the end. */
int chat_answer(struct chat *c);
/*
 * --session; without it they do nothing. Open: the talk that is there, if there is one. Keep: the messages,
 * if they are others by now. Close: the KV cache too. TOOL_OK, or an exit code.
 */
int chat_session_open(struct chat *c);
void chat_session_keep(struct chat *c);
int chat_session_close(struct chat *c);
/* A line that begins with "/". */
int chat_command(struct chat *c, const char *line);

#endif
