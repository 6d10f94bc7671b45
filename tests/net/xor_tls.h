/* SPDX-License-Identifier: MIT */
/*
 * xor_tls: a filter in TLS's place that hides nothing: each side says one line with its name, and
 * bytes are flipped afterwards. What the loop does around a filter can be seen through it.
 */
#ifndef TEST_XOR_TLS_H
#define TEST_XOR_TLS_H

#include "net/tls_ops.h"

/* A context is the name that this side gives itself. */
extern const struct sherd_tls_ops xor_tls;

#endif
