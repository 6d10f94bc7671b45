#!/bin/bash
# SPDX-License-Identifier: MIT
# The short cases of the kernel module: one boot of Debian's kernel for x86-64 under QEMU.
exec "$(dirname "$0")/check" amd64
