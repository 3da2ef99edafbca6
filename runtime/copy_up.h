/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount option tmpcopyup: a fresh tmpfs starts with what it covers.
 */
#pragma once

#include "base/error.h"

/* Copies folders, files, links with owner, mode and time; other kinds of file are left out. */
int copy_up_folder(int from_fd, int to_fd, struct error *err);
