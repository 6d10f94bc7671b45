/* SPDX-License-Identifier: MIT */
/*
 * rounding: preloaded, makes a program round towards zero: a machine whose arithmetic is not that
 * of others.
 */
#include <fenv.h>

static void __attribute__((constructor)) round_down(void)
{
	fesetround(FE_TOWARDZERO);
}
