/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named places where a test build can be made to die or stop.
 *
 * Built without -Dfault_points=true the call is empty. With it, HYDRA_FAULTS names a folder; a file in it called
 * after the point says "kill" or "stop"; reaching the point renames it to NAME.arrived and then does that.
 */
#pragma once

void fault_point(const char *name);
/* What the environment variable says, in a test build; NULL in others, always. For what no machine has that this is tested on. */
const char *fault_setting(const char *variable);
