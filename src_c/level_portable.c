/* Plain C: any compiler, any processor; the reference for the other levels. SPDX-License-Identifier: BSD-3-Clause */
#include "fg_leaves.h"
#define FG_LEVEL portable
#define FG_LEVEL_NAME "portable"
#define FG_VBYTES 0
#include "fg_level.inc"
