/* SPDX-License-Identifier: MIT */
/*
 * crc32c: the Castagnoli checksum (RFC 3720, appendix B.4), in the processor's instruction where it
 * has one. It finds what the network damaged, not what somebody forged.
 */
#ifndef SHERD_CRC32C_H
#define SHERD_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of @size bytes after those that gave @crc; @crc is 0 at the beginning. */
uint32_t sherd_crc32c(uint32_t crc, const void *data, size_t size);
/* The same without the instruction. */
uint32_t sherd_crc32c_plain(uint32_t crc, const void *data, size_t size);

#endif
