/* SPDX-License-Identifier: MIT */
/*
 * copy: bytes of one buffer to another, by the device's own loads. What a device sees of memory that it
 * imported shows that way alone: reading and copying by commands are not allowed on every import.
 */
__kernel void copy(__global const uchar *from, const ulong at, __global uchar *to, const ulong n)
{
	size_t i = get_global_id(0);

	if (i < n)
		to[i] = from[at + i];
}
