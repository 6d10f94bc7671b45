/* SPDX-License-Identifier: MIT */
/*
 * kernels: the texts of kernels-cl/, embedded into the library at build time
 * (scripts/embed): a program needs no source file beside it, and the sources' hash is part
 * of the bit profile.
 */
#ifndef SHERD_KERNELS_H
#define SHERD_KERNELS_H

#include <stddef.h>

struct sherd_kernel_source {
	const char *name; /* "matmul.cl", "dot4.h": as #include lines name it */
	const char *text; /* NUL-terminated */
	size_t len;
};

/* Sorted by name: headers and programs alike. */
extern const struct sherd_kernel_source sherd_kernel_sources[];
extern const int sherd_n_kernel_sources;

#endif
