/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHERD_SOURCE_H
#define _SHERD_SOURCE_H

struct sherd_buffer;
struct sherd_pin;

int sherd_source_pin(struct sherd_buffer *buffer, const struct sherd_pin *arg);
void sherd_source_release(struct sherd_buffer *buffer);

#endif
